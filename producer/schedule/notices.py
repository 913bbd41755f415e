"""Who is told of a run that has ended, or was never carried out: whom its schedule and its job name.

Comes in: runs with their ends. Goes out: notices. Always holds: periods that are passed over together are one notice, for the
last of them: after a month without a scheduler nobody wants a message for each hour of it.
"""

import logging
from collections.abc import Sequence
from threading import Thread

from producer import notify
from producer.period import Period
from producer.prepare import Prepared
from producer.schedule.runs import Account
from producer.schedule.table import Schedule
from tokenmill.errors import UsageError

log = logging.getLogger(__name__)


def tell(schedule: Schedule, account: Account, prepared: Prepared | None, more: str = "") -> None:
    """Tell of a run; who cannot be told is a line of the log.

    Args:
        account: the run, with its end.
        prepared: its job; None where it came to none.
        more: what is added to the reason.
    """
    key, job, end = account.run.period, schedule.job, account.end
    assert end is not None
    try:
        urls = job.place.filled("notify", [*schedule.notify, *job.options.get("notify", ())], Period.parsed(key))
    except UsageError as error:
        log.warning("%s", error)
        urls = []
    ledger = None if prepared is None else prepared.ledger
    notice = notify.Notice(
        event="alarm" if end.alarms else end.outcome,
        job=None if prepared is None else prepared.job.job_id,
        name=schedule.name,
        output="" if ledger is None else ledger.output,
        period=key,
        documents=end.documents,
        tokens=end.tokens,
        seconds=end.seconds,
        reason=(end.reason or "; ".join(end.alarms)) + more,
        report=None if ledger is None or end.outcome != "sealed" else ledger.url("report.html"),
    )
    notify.tell(notice, urls, schedule.on_end or job.options.get("on_end"))


def tell_passed_over(schedule: Schedule, accounts: Sequence[Account]) -> None:
    """Tell of periods that are not run, without keeping the scheduler: its leases end while a webhook takes its time."""
    if accounts:
        more = f"; so with {len(accounts) - 1:,} periods before it" if len(accounts) > 1 else ""
        Thread(target=tell, args=(schedule, accounts[-1], None, more), daemon=True).start()
