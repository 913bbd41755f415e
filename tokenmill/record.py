"""What every record of the ledger is: frozen, strictly checked, with one JSON form, and safe to join to a folder.

Always holds: a record is read back as it was written, or refused with the file and the field that is wrong; a file that it
names stays inside of the folder it was found in.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from tokenmill.errors import JobError
from tokenmill.roots import leads_out

VERSION: Literal[1] = 1


class Record(BaseModel):
    """A frozen, strictly checked record with one JSON form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> bytes:
        """The record as it stands in storage: indented, fields in declared order, newline at the end."""
        return self.model_dump_json(indent=2).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes, where: str) -> Self:
        """Read a record back. Raises JobError that names `where` and the first field that is wrong."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "the whole file"
            raise JobError(
                f"{where} is not a {cls.__name__} that this tokenmill can read: {field}: {first['msg']}. "
                f"It was damaged, or written by another version."
            ) from error


class FileDigest(Record):
    """One file of the output, relative to it."""

    path: str
    bytes: int
    sha256: str


def _stays_inside(file: FileDigest) -> FileDigest:
    if leads_out(file.path):
        raise ValueError("its path does not stay inside the output folder")
    return file


#: A file that a record from a stranger's folder names: whoever joins its path to the output stays inside of it.
OutputFile = Annotated[FileDigest, AfterValidator(_stays_inside)]
#: What becomes part of a file name.
PLAIN_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
PlainName = Annotated[str, StringConstraints(pattern=PLAIN_NAME)]
