"""Several manifests as one: what a reader of all generations of a growing corpus takes for the manifest.

Comes in: sealed outputs that lie in one folder, in order. Goes out: a manifest that names files from that folder on. Always
holds: what cannot be read as one token stream (another tokenizer, format or dtype) is refused; sums close as they do in each.
"""

import hashlib
from dataclasses import dataclass

from tokenmill.errors import JobError
from tokenmill.manifest import Manifest
from tokenmill.record import OutputFile

#: Totals that add up.
SUMMED = (
    *("tokens", "documents", "rejected", "documents_with_special_tokens", "input_bytes", "text_bytes", "documents_truncated"),
    *("documents_split", "pieces", "tokens_dropped", "tokens_added", "sequences", "tokens_padding"),
)
#: What manifests that are read as one have in common.
ALIKE = ("format", "dtype", "bos_id", "eos_id", "pack", "pad_id", "partition_by")


@dataclass(frozen=True, slots=True)
class Held:
    """A sealed generation, open."""

    number: int
    #: Its folder.
    name: str
    #: sha256 of its manifest.json.
    sha256: str
    #: Its folder's URL.
    output: str
    manifest: Manifest


def union(held: list[Held]) -> Manifest:
    """The manifests of generations as one, whose files lie below the folders of each.

    Raises JobError if they cannot be read as one.
    """
    first, last = held[0], held[-1]
    for one in held:
        differing = [name for name in ALIKE if getattr(one.manifest, name) != getattr(first.manifest, name)]
        if one.manifest.tokenizer.sha256 != first.manifest.tokenizer.sha256:
            differing.append("tokenizer")
        if differing:
            raise JobError(f"{one.output} and {first.output} are not of one kind: {', '.join(differing)}. Open one of them.")
    shards = [
        shard.model_copy(update={"files": tuple(_below(one, file) for file in shard.files)})
        for one in held
        for shard in one.manifest.shards
    ]
    longest = max(len(one.manifest.document_lengths) for one in held)
    lengths = [0] * longest
    for one in held:
        for place, count in enumerate(one.manifest.document_lengths):
            lengths[place] += count
    return last.manifest.model_copy(
        update={
            "job_id": hashlib.sha256("".join(one.sha256 for one in held).encode()).hexdigest()[:16],
            **{name: sum(getattr(one.manifest, name) for one in held) for name in SUMMED},
            "rejected_by_reason": _summed([one.manifest.rejected_by_reason for one in held]),
            "contaminated": _summed([one.manifest.contaminated for one in held]),
            "document_lengths": tuple(lengths),
            "corpus_bytes": None if first.manifest.sample is None else sum(one.manifest.corpus_bytes or 0 for one in held),
            "parts": (),
            "folder_files": tuple(_below(one, file) for one in held for file in one.manifest.folder_files),
            "shards": tuple(shard.model_copy(update={"index": index}) for index, shard in enumerate(shards)),
        }
    )


def _summed(counted: list[dict[str, int]]) -> dict[str, int]:
    """What was counted by name in each, all together."""
    return {name: sum(one.get(name, 0) for one in counted) for name in sorted({name for one in counted for name in one})}


def _below(held: Held, file: OutputFile) -> OutputFile:
    return file.model_copy(update={"path": f"{held.name}/{file.path}"})
