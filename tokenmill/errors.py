"""Every error tokenmill raises on purpose, sorted by what the caller must do.

    TokenmillError
    ├── TransientError     wait and try the same thing again: storage or broker away, disk full
    ├── BatchError         give this batch up, park it, go on with the others: damaged or changed source
    └── JobError           stop the job: no other batch can do better
        └── UsageError     the request itself is wrong; nothing was started

A message says what happened, where, and what to do. What an operating system says is sorted here, what S3 and
Google say in `tokenmill.storage.s3` and `.gs`. A document that cannot be encoded is no error: it is counted data
(`tokenmill.documents.Rejection`).
"""

import errno


class TokenmillError(Exception):
    """Base of all errors that tokenmill raises on purpose."""


class TransientError(TokenmillError):
    """The same call may succeed later; it never counts against the batch."""


class BatchError(TokenmillError):
    """This batch cannot be done as planned; others can."""


class JobError(TokenmillError):
    """The job cannot go on."""


class UsageError(JobError):
    """The request is wrong; the message names the option or file to change."""


#: What a full or vanished disk says; everything else an OSError says is about one file.
TRANSIENT_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN})


def from_os_error(error: OSError, doing: str) -> TokenmillError:
    """Translate what the operating system said while `doing` something into transient or batch trouble."""
    what = f"{doing}: {error.strerror or error}"
    if error.errno in TRANSIENT_ERRNOS:
        hint = " Free some space; the work goes on by itself." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        return TransientError(what + "." + hint)
    return BatchError(f"{what}. Restore it or leave it out, then run the same command again.")
