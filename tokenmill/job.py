"""The nouns of a job: how it was cut, what was done, what came out.

Comes in: a spec that was settled, bytes from the ledger. Goes out: frozen records, each with one JSON form. Always holds: how
the work was done (engine, host, seconds) stands in `Job.engine` and `ShardEntry.run` alone. A record of another `version` is
refused.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import Field

from tokenmill.broker import JOB_ID
from tokenmill.record import VERSION, OutputFile, PlainName, Record
from tokenmill.spec import JobSpec


class Device(StrEnum):
    """Which workers do a job. It decides no byte of it."""

    #: Whoever comes first.
    AUTO = "auto"
    #: Whoever comes first, but never with an engine that runs on a GPU.
    CPU = "cpu"
    #: Workers that have a GPU.
    CUDA = "cuda"


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
    #: Whether it was asked for by name; a GPU's worker may take its own in place of one that was not.
    by_name: bool = False


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
    #: Its number among the generations of a growing corpus, see `tokenmill.generations`; None for a job by itself.
    generation: int | None = None
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
    #: Of conversations: tokens that are learned from.
    tokens_learned: int = 0
    #: Documents in `rejected/`, by reason.
    rejected: dict[str, int] = Field(default_factory=dict)
    #: Encoded documents that contain a special token's string.
    with_special_tokens: int = 0
    #: Documents in which a test set was found, by its name; one may hold several.
    contaminated: dict[str, int] = Field(default_factory=dict)
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
            tokens_learned=self.tokens_learned + other.tokens_learned,
            rejected=_summed(self.rejected, other.rejected),
            with_special_tokens=self.with_special_tokens + other.with_special_tokens,
            contaminated=_summed(self.contaminated, other.contaminated),
            input_bytes=self.input_bytes + other.input_bytes,
            text_bytes=self.text_bytes + other.text_bytes,
            lengths=tuple(a + b for a, b in zip(*padded, strict=True)),
        )


def _summed(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted(one.keys() | other.keys())}


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
