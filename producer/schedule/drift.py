"""What a run brought, against the run before it: written down beside its record, and what of it is alarming.

Comes in: a run whose output is sealed. Goes out: `RUNS/<name>/<period>.diff.json`, what `tokenmill diff --json` says of both
outputs, and the alarms. Always holds: it is a function of two sealed manifests and of the schedule's limits; a run that has
none before it is compared with nothing.
"""

import json

from producer.schedule.runs import Runs
from tokenmill import storage
from tokenmill.ledger import Ledger
from tokenmill.report import Difference, difference


def drift(runs: Runs, period: str, output: str, limits: dict[str, float]) -> Difference | None:
    """What has changed since the last run before this one that was sealed and had documents; None for the first."""
    new = Ledger(output).totals()
    for account in runs.history():
        if account.run.period >= period or account.job is None or account.end is None or not account.end.documents:
            continue
        old = Ledger(account.job.output).totals()
        if old is not None and new is not None:
            found = difference(old, new, limits, names=(account.job.output, output))
            storage.claim(
                runs.url(period, ".diff"), (json.dumps(found.summary(), indent=2, ensure_ascii=False) + "\n").encode()
            )
            return found
    return None
