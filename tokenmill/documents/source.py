"""Is a source file still the one that the plan saw?

Comes in: a span. Goes out: nothing, or a BatchError. Always holds: a batch whose file has another size or modification mark is
parked, not encoded: its ranges were cut for another content. Asked before reading and again before the batch is published.
"""

from tokenmill import storage
from tokenmill.errors import BatchError
from tokenmill.job import Span


def check_unchanged(span: Span) -> None:
    """Raise BatchError if a span's file is gone, or is not the file that was planned."""
    found = storage.status(span.url)
    if found is None:
        raise BatchError(
            f"{span.url} is gone. Put it back and run `tokenmill retry` on the output, or start a job without it elsewhere."
        )
    if found.size != span.size:
        change = f"is {found.size:,} bytes long, planned were {span.size:,}"
    elif found.mark != span.mark:
        change = "was written again after the job was planned"
    else:
        return
    raise BatchError(
        f"{span.url} {change}. Restore it, with its modification time, and run `tokenmill retry` on the output; "
        f"or start a new job in another output folder."
    )
