"""The parts of an output that is split by a field: `partitions/language=de`, named as Hive does, and Spark and pyarrow read.

Comes in: values of a field. Goes out: names of folders. Always holds: a value names one folder, and a folder one value,
whatever characters it has; only documents without the field, with null or with no text in it share one.
"""

from collections.abc import Iterable
from urllib.parse import quote, unquote

from tokenmill.errors import JobError

FOLDER = "partitions"
#: What stands for no value.
NONE = "__HIVE_DEFAULT_PARTITION__"
#: A batch holds a file open for each value, and a field with more of them is none to split by.
MOST = 256
#: Bytes that a value's name may have: file systems take 255, less the field's.
LONGEST = 160


def folder_of(field: str, value: str | None) -> str:
    """Where the documents of a value lie, below the output. Raises JobError if it is too long for a name."""
    name = quote(value or NONE, safe=" ")
    if len(name) > LONGEST:
        what = "is too long for a folder's name. Split by a field of short values."
        raise JobError(f"--partition-by {field}: {(value or '')[:60]!r} … {what}")
    return f"{FOLDER}/{quote(field, safe='')}={name}"


def value_of(folder: str) -> str | None:
    """What the documents in a folder have in the field."""
    value = unquote(folder.partition("=")[2])
    return None if value == NONE else value


def folders_of(paths: Iterable[str]) -> set[str]:
    """The parts that files lie in, given by their paths below an output that is split."""
    return {"/".join(path.split("/")[:2]) for path in paths if path.startswith(f"{FOLDER}/")}


def refuse_many(field: str, values: int) -> None:
    """Raise JobError for more values than a field to split by has in one batch."""
    if values > MOST:
        raise JobError(
            f"--partition-by {field} has more than {MOST} values in one batch. Split by a field of few values, such as a "
            f"language, or carry it into metadata/ with --metadata."
        )
