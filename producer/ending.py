"""How a job ended, for those who are told of it."""

from producer.dispatch import Outcome
from producer.notify import Notice
from producer.prepare import Prepared


def notice(prepared: Prepared, outcome: Outcome, seconds: float, period: str | None = None) -> Notice:
    """The notice of a job that has ended. Raises TransientError while storage is away."""
    ledger, totals = prepared.ledger, prepared.ledger.totals()
    sealed = outcome is Outcome.SEALED
    return Notice(
        event=outcome.value,
        job=prepared.job.job_id,
        name=prepared.job.name,
        output=ledger.output,
        period=period,
        documents=totals.documents if totals else 0,
        tokens=totals.tokens if totals else 0,
        seconds=round(seconds, 3),
        reason=reason(prepared, outcome),
        report=ledger.url("report.html") if sealed else None,
    )


def reason(prepared: Prepared, outcome: Outcome) -> str:
    """Why a job is not sealed, and what to do."""
    if outcome is Outcome.PARKED:
        parked = prepared.ledger.parked()
        remedy = f"Mend the cause and run: tokenmill retry {prepared.ledger.output}"
        return f"{len(parked):,} batches are parked, the first: {parked[0].reason} {remedy}"
    return "somebody cancelled the job" if outcome is Outcome.CANCELLED else ""
