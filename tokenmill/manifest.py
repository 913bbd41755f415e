"""The seal of a job: its totals, then one row for each shard.

Comes in: totals and shard rows. Goes out: `manifest.json`, as a stream, and the records read back. Always holds: the stream
is byte for byte `Manifest.to_json()`, however many shards there are, and takes the memory of one row; only what the job
determines stands in it (law 2).
"""

from collections.abc import Iterable, Iterator
from typing import BinaryIO, Literal, Self

from pydantic import Field

from tokenmill.choices import Dtype, FormatName
from tokenmill.job import Counts, Job, ShardEntry, TokenizerRef
from tokenmill.record import VERSION, OutputFile, Record
from tokenmill.spec import OverLength, Packing, Sampling, SpecialTokens

#: Where the totals end and the table begins. No string of a JSON file can hold it, since a line break in one is escaped.
TABLE = b',\n  "shards": ['


class Shard(Record):
    """One row of the manifest's shard table."""

    index: int
    files: tuple[OutputFile, ...]
    tokens: int
    documents: int
    rejected: int
    #: Packed rows, and the padding in them; None where nothing is packed.
    sequences: int | None = None
    tokens_padding: int = 0

    @property
    def stored_documents(self) -> int:
        """What its format stores as documents: packed rows, or documents."""
        return self.documents if self.sequences is None else self.sequences

    @property
    def stored_tokens(self) -> int:
        """Ids in its files, padding included."""
        return self.tokens + self.tokens_padding

    @classmethod
    def of(cls, entry: ShardEntry, job: Job) -> Self:
        """What the manifest keeps of an entry: all but how it was made."""
        return cls(
            index=entry.index,
            files=entry.files,
            tokens=entry.counts.tokens,
            documents=entry.counts.documents,
            rejected=entry.counts.rejected_total,
            sequences=None if job.spec.pack is None else entry.counts.sequences,
            tokens_padding=entry.counts.tokens_padding,
        )


class Part(Record):
    """One part of an output that is split by a field: a sealed output in a folder of its own."""

    path: str
    #: What its documents have in the field; None for no value.
    value: str | None
    documents: int
    tokens: int


class Totals(Record):
    """What a sealed job holds, all shards together."""

    version: Literal[1] = VERSION
    job_id: str
    tokenizer: TokenizerRef
    format: FormatName
    dtype: Dtype
    bos_token: str | None
    bos_id: int | None
    eos_token: str | None
    eos_id: int | None
    special_tokens: SpecialTokens
    tokens: int
    documents: int
    rejected: int
    rejected_by_reason: dict[str, int]
    documents_with_special_tokens: int
    #: Documents in which each test set was found; nothing where none was looked for.
    contaminated: dict[str, int] = Field(default_factory=dict)
    #: The sample that these are of, and the bytes of all files that it was taken from; None for the whole corpus.
    sample: Sampling | None = None
    corpus_bytes: int | None = None
    input_bytes: int
    text_bytes: int
    document_lengths: tuple[int, ...]
    max_tokens: int | None = None
    over_length: OverLength = OverLength.KEEP
    documents_truncated: int = 0
    documents_split: int = 0
    pieces: int = 0
    tokens_dropped: int = 0
    tokens_added: int = 0
    #: Seed of the documents' order; None for that of the sources.
    shuffle: int | None = None
    #: What documents were packed into; None where they were not.
    pack: Packing | None = None
    pad_id: int | None = None
    sequences: int = 0
    #: Not among `tokens`.
    tokens_padding: int = 0
    #: Of conversations: tokens that are learned from; None for text, all of which is.
    tokens_learned: int | None = None
    #: The field by whose values the output is split, the value of this part, and all parts: of the whole there are some and no
    #: value, of a part there is none of them.
    partition_by: str | None = None
    partition: str | None = None
    parts: tuple[Part, ...] = ()
    #: What the format keeps for all shards together, such as `shards/index.json`.
    folder_files: tuple[OutputFile, ...] = ()

    def cut(self) -> str:
        """One line for people on what the length policy did; nothing where there is none."""
        if self.max_tokens is None:
            return ""
        dropped = f"{self.tokens_dropped:,} tokens dropped"
        pieces = f"{self.pieces:,}, {self.tokens_added:,} tokens added"
        said = {
            OverLength.KEEP: "",
            OverLength.TRUNCATE: f"{self.documents_truncated:,} documents truncated, {dropped}",
            OverLength.SPLIT: f"{self.documents_split:,} documents split into {pieces}",
            OverLength.DROP: f"{self.rejected_by_reason.get('too_many_tokens', 0):,} documents with {dropped}",
        }
        return f"at most {self.max_tokens:,} tokens: {said[self.over_length]}"

    def packed(self) -> str:
        """One line for people on what the rows came to; nothing where there are none."""
        if self.pack is None:
            return ""
        share = self.tokens_padding / max(1, self.tokens + self.tokens_padding)
        return f"{self.sequences:,} sequences of {self.pack.length:,} ({self.pack.method}), {share:.2%} padding"

    def learned(self) -> str:
        """One line for people on what of conversations is learned from; nothing of text."""
        if self.tokens_learned is None:
            return ""
        return f"{self.tokens_learned:,} tokens, {self.tokens_learned / max(1, self.tokens):.1%} of all"

    def found(self) -> str:
        """One line for people on the test sets that were looked for; nothing where none was."""
        return ", ".join(f"{name} in {documents:,} documents" for name, documents in self.contaminated.items())


class Manifest(Totals):
    """All of `manifest.json`; a million shards take gigabytes, so whoever needs no shard reads the totals alone."""

    shards: tuple[Shard, ...]


def totals_of(job: Job, counts: Counts) -> Totals:
    """The totals of a job whose batches add up to `counts`."""
    return Totals(
        job_id=job.job_id,
        tokenizer=job.tokenizer,
        format=job.spec.format,
        dtype=job.spec.dtype,
        bos_token=job.spec.bos_token,
        bos_id=job.bos_id,
        eos_token=job.spec.eos_token,
        eos_id=job.eos_id,
        special_tokens=job.spec.special_tokens,
        tokens=counts.tokens,
        documents=counts.documents,
        rejected=counts.rejected_total,
        rejected_by_reason=counts.rejected,
        documents_with_special_tokens=counts.with_special_tokens,
        contaminated={one.name: counts.contaminated.get(one.name, 0) for one in job.spec.held_out},
        sample=job.spec.sample,
        corpus_bytes=job.corpus_bytes,
        input_bytes=counts.input_bytes,
        text_bytes=counts.text_bytes,
        document_lengths=counts.lengths,
        max_tokens=job.spec.max_tokens,
        over_length=job.spec.over_length,
        documents_truncated=counts.documents_truncated,
        documents_split=counts.documents_split,
        pieces=counts.pieces,
        tokens_dropped=counts.tokens_dropped,
        tokens_added=counts.tokens_added,
        shuffle=job.spec.shuffle,
        pack=job.spec.pack,
        pad_id=job.pad_id,
        sequences=counts.sequences,
        tokens_padding=counts.tokens_padding,
        tokens_learned=None if job.spec.chat is None else counts.tokens_learned,
        partition_by=job.spec.partition_by,
    )


def stream(totals: Totals, shards: Iterable[Shard]) -> Iterator[bytes]:
    """The bytes of a manifest, one shard at a time."""
    yield totals.to_json().removesuffix(b"\n}\n") + TABLE
    between = b"\n    "
    for shard in shards:
        yield between + shard.to_json().rstrip().replace(b"\n", b"\n    ")
        between = b",\n    "
    yield b"\n  ]\n}\n" if between.startswith(b",") else b"]\n}\n"


def read_totals(file: BinaryIO, where: str) -> Totals:
    """The totals at the head of a manifest; the table is not read. Raises JobError that names `where`."""
    head = b""
    while TABLE not in head and (block := file.read(1 << 16)):
        head += block
    return Totals.from_json(head.partition(TABLE)[0] + b"\n}", where)
