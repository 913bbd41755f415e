"""The documents of a batch, read again from the sources and encoded by the reference, against what its shards hold.

Comes in: a sealed output, or the parts it is split into, and a batch. Goes out: findings, as lines for people. Always holds:
all rules of the job are applied in the order in which the pipeline applies them; of a batch one document at a time is compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenmill import documents
from tokenmill.columns import Column, Screened, screen
from tokenmill.documents import GIVEN_UP, rejections
from tokenmill.engines import LEARNED, Encoder
from tokenmill.errors import TokenmillError
from tokenmill.job import Job
from tokenmill.ledger import Ledger
from tokenmill.lengths import LengthPolicy
from tokenmill.masks import unlearnable
from tokenmill.partitions import folder_of
from tokenmill.reader import TokenDataset
from tokenmill.shuffle import order


class Place:
    """Where documents lie: an output, or one of the parts it is split into."""

    def __init__(self, folder: str | None, dataset: TokenDataset) -> None:
        self.folder, self.dataset = folder, dataset
        #: Batch -> place among the shards; a part has none of a batch without documents for it.
        self.positions = {shard.index: position for position, shard in enumerate(dataset.manifest.shards)}


@dataclass(slots=True)
class Held:
    """What a place holds of one batch."""

    folder: str | None
    dataset: TokenDataset
    position: int
    #: Documents compared so far.
    compared: int = 0

    @property
    def documents(self) -> int:
        return self.dataset.manifest.shards[self.position].documents

    def stands(self, seed: int | None, index: int) -> NDArray[np.int64]:
        """Where each document is in the shard, by its place in the sources."""
        return np.arange(self.documents) if seed is None else np.argsort(order(seed, index, self.documents))


def held_of(places: list[Place], index: int) -> list[Held]:
    """What all places hold of a batch."""
    return [Held(place.folder, place.dataset, place.positions[index]) for place in places if index in place.positions]


def forget(places: list[Place], index: int) -> None:
    """Close what is open of a batch."""
    for held in held_of(places, index):
        held.dataset.forget(held.position)


def damage(held: Held, index: int) -> Iterator[str]:
    """Whether its files hold what the manifest says, and packed rows nothing but documents and padding."""
    try:
        opened = held.dataset.opened(held.position)
    except TokenmillError as error:
        yield str(error)
        return
    packing, pad_id = held.dataset.manifest.pack, held.dataset.manifest.pad_id
    if packing is None:
        return
    for row in np.flatnonzero(opened.used < packing.length).tolist():
        if (opened.stored[row][opened.used[row] :] != pad_id).any():
            yield f"shard {index:06d}: sequence {row} has other ids than {pad_id} in its padding"
            return


def compare(ledger: Ledger, job: Job, encoder: Encoder, held: list[Held], index: int, limit: int | None) -> Iterator[str]:
    """Read a batch's documents again, all or the first `limit`, and compare their ids with the shard's.

    Goes out: findings; how many were compared is counted in `held`.
    """
    batch, output, field = ledger.batch(index), ledger.output, job.spec.partition_by
    policy = LengthPolicy(job.spec, job.bos_id, job.eos_id)
    stands = {one.folder: one.stands(job.spec.shuffle, index) for one in held}
    by_folder, compared = {one.folder: one for one in held}, 0
    given_up = {(r.file, r.position): r.reason for r in rejections(output, index) if r.reason in GIVEN_UP}
    for span in batch.spans:
        for found in documents.read(span, job.spec):
            places = enumerate(found.positions.tolist()) if given_up else ()
            refused = {i: given_up[found.file, position] for i, position in places if (found.file, position) in given_up}
            screened = screen(found, job.spec.special_tokens, encoder).without(refused)
            text, holds_special, learned = screened.text, screened.holds_special, screened.learned
            wanted = len(text) if limit is None else min(len(text), max(0, limit - compared))
            encoded = encoder.encode(text[:wanted], holds_special[:wanted], None if learned is None else learned[:wanted])
            kept = np.ones(wanted, np.bool_)
            if learned is not None:
                kept = ~np.any(list(unlearnable(encoded, job.bos_id).values()), axis=0)
            for folder, rows in _split(screened, field, kept):
                tokens = policy(encoded if rows.all() else encoded.only(rows)).tokens
                one = by_folder.get(folder)
                for number in range(len(tokens)):
                    if one is None or one.compared >= one.documents:
                        yield f"shard {index:06d}: the sources hold more documents than the shard; they have changed"
                        return
                    place, expected = int(stands[folder][one.compared]), tokens.document(number)
                    opened = one.dataset.opened(one.position)
                    if not np.array_equal(opened.reader[place], expected & ~LEARNED):
                        yield f"shard {index:06d}: the ids of document {place} are not the reference's"
                        return
                    if learned is not None and not np.array_equal(opened.mask_of(place), expected >= LEARNED):
                        yield f"shard {index:06d}: the mask of document {place} is not what its conversation says"
                        return
                    one.compared += 1
                    compared += 1
            if limit is not None and compared >= limit:
                return
    for one in held:
        if one.compared < one.documents:
            holds = f"the sources hold {one.compared} documents, the shard {one.documents}"
            yield f"shard {index:06d}: {holds}; they have changed"


def _split(screened: Screened, field: str | None, kept: NDArray[np.bool_]) -> Iterator[tuple[str | None, NDArray[np.bool_]]]:
    """Those of the first documents that are kept, by the part they belong to."""
    if field is None:
        yield None, kept
        return
    folders = np.array([folder_of(field, value) for value in Column((screened,), 0).values(field)[: len(kept)]])
    for folder in dict.fromkeys(folders.tolist()):
        yield folder, (folders == folder) & kept
