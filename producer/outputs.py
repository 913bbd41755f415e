"""The outputs that are made of one read: a batch is done when all of them have it, and they are sealed together.

Comes in: the ledger of the output that leads, and the places of those beside it. Goes out: entries taken back, manifests.
Always holds: a batch that has its entry in the leading output has one in every other; nothing is sealed of which too much is
damaged.
"""

from collections.abc import Iterable

import numpy as np

from producer.progress import Tally
from tokenmill.errors import JobError
from tokenmill.job import Counts, Job
from tokenmill.ledger import Ledger
from tokenmill.report import page, statistics


def level(lead: Ledger, beside: Iterable[str]) -> bool:
    """Take back what is not done in every output; returns whether the leading one has lost an entry.

    That is so where a batch was done before the other outputs were asked for, or one of their engines was found wrong.
    """
    taken_back = False
    for other in map(Ledger, beside):
        if disabled := other.disabled_engines():
            for entry in other.entries():
                if entry.run.engine_name in disabled:
                    other.revoke(entry.index)
        for index in np.setdiff1d(lead.committed(), other.committed(), assume_unique=True):
            lead.revoke(int(index))
            taken_back = True
    return taken_back


def seal_beside(ledger: Ledger) -> None:
    """Seal an output whose batches another one's dispatcher has seen done. Raises JobError if too much of it is damaged."""
    if ledger.is_sealed():
        return
    job, tally = ledger.job(), Tally(ledger)
    tally.refresh()
    refuse_damage(job, ledger, tally.counts)
    ledger.seal(job, lambda totals: page(statistics(ledger, job, totals)))


def refuse_damage(job: Job, ledger: Ledger, counts: Counts, share: float = 1.0) -> None:
    """Raise JobError if more documents are damaged than the job allows.

    Args:
        share: of the job that has been seen.
    """
    if counts.damaged <= job.max_rejected * counts.documents_read / share:
        return
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.rejected.items())
    raise JobError(
        f"{counts.damaged:,} of {counts.documents_read:,} documents so far are damaged, more than --max-rejected "
        f"{job.max_rejected:g} of the job allows ({reasons}; see {ledger.url('rejected')}). "
        f"Mend the sources, name the right --text-field, or allow more with --max-rejected; what is done is kept."
    )
