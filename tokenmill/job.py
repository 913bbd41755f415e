"""The nouns of a job: what was asked for, how it was cut, what was done, what came out.

Comes in: options from the command line, bytes from the ledger. Goes out: frozen records, each with one JSON form.
Always holds: `JobSpec` and the sources decide every byte of the shards and of the manifest (law 2); how the work was done
(engine, host, seconds) stands in `Job.engine` and `ShardEntry.run` alone. A record of another `version` is refused.
"""

import datetime
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from tokenmill.broker import JOB_ID
from tokenmill.choices import Dtype, FormatName, PackMethod
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


class SpecialTokens(StrEnum):
    """What becomes of a document whose text contains a special token's string, such as `<|endoftext|>`."""

    TEXT = "text"
    PARSE = "parse"
    REJECT = "reject"


class OverLength(StrEnum):
    """What becomes of a document with more tokens than `max_tokens`."""

    KEEP = "keep"
    TRUNCATE = "truncate"
    SPLIT = "split"
    DROP = "drop"


class Device(StrEnum):
    """Which workers do a job. It decides no byte of it."""

    #: Whoever comes first.
    AUTO = "auto"
    #: Whoever comes first, but never with an engine that runs on a GPU.
    CPU = "cpu"
    #: Workers that have a GPU.
    CUDA = "cuda"


class Sampling(Record):
    """A part of a corpus that is taken for the whole: pieces drawn by a seed."""

    #: Share of the pieces.
    share: float = Field(default=1.0, gt=0, le=1)
    #: Most bytes in it; None for no such limit.
    limit: int | None = Field(default=None, gt=0)
    seed: int = 0


class Packing(Record):
    """Rows of one length, which the shard format stores in place of documents."""

    #: Tokens of a row, padding included.
    length: int = Field(gt=0, lt=1 << 31)
    method: PackMethod
    #: What fills a row.
    pad_token: str


class Chat(Record):
    """How a record becomes a conversation, and what of it is learned from: all that `tokenmill.chat` needs to know."""

    #: The template that writes conversations, and the one for those with tools, where a tokenizer has two.
    template: str
    tool_template: str | None = None
    #: Tokens that templates know by a name, such as `bos_token`.
    tokens: dict[str, str] = {}
    #: The date that templates are told; None where none asks.
    date: datetime.date | None = None
    #: Roles whose turns are learned from; empty leaves it to the template's generation blocks.
    learn_from: tuple[str, ...] = ()
    #: The field with the messages, or those with prompt and response.
    fields: tuple[str, ...] = Field(min_length=1, max_length=2)


class JobSpec(Record):
    """Everything the user asked for that decides ids, shards or the manifest."""

    #: Source paths, folders, globs, URLs, or lists of them (`@list.txt`), as given but absolute.
    sources: tuple[str, ...]
    #: Globs of which one has to match a file, if there are any, and globs of which none may (`producer.selection`).
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    #: Which part of the files is taken; None for all.
    sample: Sampling | None = None
    #: The tokenizer as given: hub id, path or package:NAME.
    tokenizer: str
    #: Token appended to each document; None for none.
    eos_token: str | None
    #: Token put before each document; None for none.
    bos_token: str | None
    special_tokens: SpecialTokens = SpecialTokens.TEXT
    #: A document may have this many tokens, BOS and EOS included; None for any number.
    max_tokens: int | None = Field(default=None, gt=0)
    over_length: OverLength = OverLength.KEEP
    #: Tokens of text that a piece of a split document shares with the one before.
    stride: int = Field(default=0, ge=0)
    #: Seed of the documents' order; None leaves them in that of the sources.
    shuffle: int | None = Field(default=None, ge=0, lt=1 << 64)
    #: Rows that documents are packed into; None stores documents as they are.
    pack: Packing | None = None
    dtype: Dtype
    format: FormatName = "megatron"
    #: Field or column that holds a document's text, by its name or by a path (`data.text`).
    text_field: str = "text"
    #: Text made of several fields, such as "{title}\n\n{body}"; `text_field` then means nothing.
    text_template: str | None = None
    #: Documents are conversations; the fields above then mean nothing. None for text.
    chat: Chat | None = None
    #: Field or column that names a document in `rejected/`.
    id_field: str | None = None
    #: Fields or columns that are carried into `metadata/`.
    metadata: tuple[str, ...] = ()
    #: Field or column by whose values the output is split, see `tokenmill.partitions`; None leaves it whole.
    partition_by: str | None = None
    #: Cuts .txt files into documents; None makes each file one document.
    separator: str | None = None
    #: Source bytes a batch aims at.
    batch_bytes: int = Field(gt=0)
    #: A record longer than this many bytes is rejected; it bounds a worker's memory.
    max_document_bytes: int = Field(gt=0)


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
PlainName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]


class TokenizerRef(Record):
    """Which tokenizer decides the ids: content, not name."""

    name: str
    #: Commit of a hub tokenizer, version of a package; None for files.
    revision: str | None
    #: sha256 of the tokenizer.json that decides the ids; names a folder of the cache.
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    #: Largest id + 1, added tokens included.
    vocab_size: int
    files: tuple[OutputFile, ...]


class EngineChoice(Record):
    """Which engine encodes this job, and why."""

    name: PlainName
    version: str
    reason: str


class Job(Record):
    """`job.json`: a spec bound to one state of its sources and one tokenizer."""

    version: Literal[1] = VERSION
    job_id: str = Field(pattern=f"^{JOB_ID}$")
    #: Short name for people; shown in Flower.
    name: str
    spec: JobSpec
    tokenizer: TokenizerRef
    bos_id: int | None
    eos_id: int | None
    #: What fills packed rows; None where nothing is packed.
    pad_id: int | None = None
    #: sha256 over the sorted source files with size and modification mark.
    source_fingerprint: str
    source_files: int
    #: Bytes that are read: of the files, or of the sample.
    source_bytes: int
    #: Bytes of the files that the sample is taken from; None where there is no sample.
    corpus_bytes: int | None = None
    batches: int
    #: What `plan.parquet` has to hold.
    plan: OutputFile
    #: Largest share of damaged documents with which the job may still be sealed.
    max_rejected: float = Field(ge=0, le=1)
    engine: EngineChoice
    device: Device = Device.AUTO
    #: Outputs that are made of the same read as this one, batch by batch: their entries come before its own.
    beside: tuple[str, ...] = ()
    #: The output that this one is made beside; None for one that stands by itself or has others beside it.
    made_with: str | None = None
    #: One document in this many is encoded again with the reference while the job runs; 0 for none.
    check_every: int = Field(default=1000, ge=0)
    #: Versions of the packages that matter.
    versions: dict[str, str]


class Cut(StrEnum):
    """What the numbers of a span count."""

    WHOLE = "whole"
    BYTES = "bytes"
    ROW_GROUPS = "row_groups"
    RECORD_BATCHES = "record_batches"
    #: Bytes of an archive, as stored, from the beginning of a frame to the end of one.
    FRAMES = "frames"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of one source file: bytes, row groups, record batches or frames [start, stop), or all of it."""

    url: str
    cut: Cut
    start: int
    stop: int
    #: Source bytes in it, as stored.
    bytes: int
    #: Size and modification mark of the whole file when the plan was made: it must be the same file when it is read.
    size: int
    mark: str
    #: The stretch of the unpacked file that an archive's frames hold; nothing elsewhere.
    plain_start: int = 0
    plain_stop: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One task's work and one shard's content."""

    index: int
    spans: tuple[Span, ...]

    @property
    def bytes(self) -> int:
        """Source bytes, as stored."""
        return sum(span.bytes for span in self.spans)


class Counts(Record):
    """What became of the documents; sums over batches close (law 4)."""

    #: Documents in the shard; each piece of a split one is a document there.
    documents: int = 0
    tokens: int = 0
    #: Documents that were cut off at `max_tokens`; that were cut up, and what those became.
    documents_truncated: int = 0
    documents_split: int = 0
    pieces: int = 0
    #: Tokens that were encoded and stand in no shard.
    tokens_dropped: int = 0
    #: Tokens that pieces have beyond those of the document they were cut from: overlap, BOS, EOS.
    tokens_added: int = 0
    #: Packed rows, and the padding in them, which is not among `tokens`; none where nothing is packed.
    sequences: int = 0
    tokens_padding: int = 0
    #: Documents in `rejected/`, by reason.
    rejected: dict[str, int] = {}
    #: Encoded documents that contain a special token's string.
    with_special_tokens: int = 0
    #: Source bytes, as stored.
    input_bytes: int = 0
    #: UTF-8 bytes of the encoded documents.
    text_bytes: int = 0
    #: lengths[k] documents have between 2^(k-1) and 2^k - 1 tokens; lengths[0] have none.
    lengths: tuple[int, ...] = ()

    @property
    def rejected_total(self) -> int:
        return sum(self.rejected.values())

    @property
    def damaged(self) -> int:
        """Rejected documents that nobody asked to leave out: all but the empty and the dropped ones."""
        return self.rejected_total - self.rejected.get("empty", 0) - self.rejected.get("too_many_tokens", 0)

    @property
    def documents_read(self) -> int:
        """Documents of the sources: each is in the shard, whole, truncated or in pieces, or it is rejected."""
        return self.documents - self.pieces + self.documents_split + self.rejected_total

    @property
    def tokens_encoded(self) -> int:
        """Tokens before the length policy."""
        return self.tokens + self.tokens_dropped - self.tokens_added

    def __add__(self, other: "Counts") -> "Counts":
        reasons = sorted(self.rejected.keys() | other.rejected.keys())
        longest = max(len(self.lengths), len(other.lengths))
        padded = [counts.lengths + (0,) * (longest - len(counts.lengths)) for counts in (self, other)]
        return Counts(
            documents=self.documents + other.documents,
            tokens=self.tokens + other.tokens,
            documents_truncated=self.documents_truncated + other.documents_truncated,
            documents_split=self.documents_split + other.documents_split,
            pieces=self.pieces + other.pieces,
            tokens_dropped=self.tokens_dropped + other.tokens_dropped,
            tokens_added=self.tokens_added + other.tokens_added,
            sequences=self.sequences + other.sequences,
            tokens_padding=self.tokens_padding + other.tokens_padding,
            rejected={reason: self.rejected.get(reason, 0) + other.rejected.get(reason, 0) for reason in reasons},
            with_special_tokens=self.with_special_tokens + other.with_special_tokens,
            input_bytes=self.input_bytes + other.input_bytes,
            text_bytes=self.text_bytes + other.text_bytes,
            lengths=tuple(a + b for a, b in zip(*padded, strict=True)),
        )


class Run(Record):
    """How a batch was done; differs from run to run and never reaches the manifest."""

    engine: str
    worker: str
    attempt: int
    #: Unix time at the start.
    started: float
    seconds: float
    #: Seconds by stage: read, encode, check, write, commit (of the files, not of the entry itself).
    stages: dict[str, float]
    #: Documents that the live check compared with the reference.
    checked: int = 0
    #: Documents that the reference encoded one by one, because a worker had died there or the engine gave an error.
    one_by_one: int = 0

    @property
    def engine_name(self) -> str:
        return self.engine.partition(" ")[0]


class ShardEntry(Record):
    """`entries/000042.json`: the commit record of a batch, written last."""

    version: Literal[1] = VERSION
    job_id: str
    index: int
    counts: Counts
    files: tuple[OutputFile, ...]
    run: Run


class DisabledEngine(Record):
    """`disabled/fastokens.json`: an engine whose ids were found wrong while the job ran, and what was seen."""

    version: Literal[1] = VERSION
    job_id: str
    engine: PlainName
    engine_version: str
    batch: int
    worker: str
    #: First characters of the document.
    excerpt: str
    #: First ids of it, as the engine gave them and as the reference does.
    found: tuple[int, ...]
    expected: tuple[int, ...]

    def says(self) -> str:
        """One line for people."""
        return (
            f"{self.engine} {self.engine_version} gave other ids than the reference in batch {self.batch:06d} "
            f"({self.excerpt[:40]!r}); it is disabled, and the reference does its batches again"
        )


class StoppedJob(Record):
    """`stopped.json`: why the job cannot go on as it is; asking for it again takes the record away."""

    version: Literal[1] = VERSION
    job_id: str
    reason: str


class ParkedBatch(Record):
    """`parked/000042.json`: a batch that was given up on, and why."""

    version: Literal[1] = VERSION
    job_id: str
    index: int
    #: True when no other batch can do better either.
    stops_job: bool
    reason: str
    #: Traceback where the reason was not foreseen.
    details: str = ""
    attempts: int
    worker: str
