"""The merges of a byte-level BPE as one array of bytes, laid out as `kernels/words.h` reads it.

Comes in: a tokenizer.json. Goes out: the image. Always holds: the image says what `tokenizers` 0.23
does (models/bpe/model.rs): of a pair that is listed twice the last place counts, a pair's rank is not the id of what it
becomes, and with `ignore_merges` a word that is a token is that token.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from tokenmill.tokenizers import Model

#: `Pair` and `Token` of kernels/words.h.
PAIR = np.dtype([("left", "<u4"), ("right", "<u4"), ("rank", "<u4"), ("id", "<u4")])
TOKEN = np.dtype([("hash", "<u4"), ("begin", "<u4"), ("length", "<u4"), ("id", "<u4")])
#: What `Merges` of kernels/words.h begins with.
HEADER = np.dtype([(name, "<u8") for name in ("pairs", "pair_mask", "tokens", "token_mask", "spellings", "whole")])
#: Marks an unused place of the table of pairs.
NONE = 0xFFFFFFFF
#: Ids must be below this, since the word table keeps them in 24 bits.
MOST_IDS = 1 << 24


class _Settings(msgspec.Struct):
    ignore_merges: bool | None = None


class _Merges(msgspec.Struct):
    merges: list[tuple[str, str] | str] = []


@dataclass(frozen=True, slots=True)
class Merges:
    """What the kernels merge by."""

    #: uint8: the header, an id per byte, the pairs, and where words that are tokens are not merged, the tokens.
    image: NDArray[np.uint8]


def merges_of(model: Model) -> Merges:
    """The image of a tokenizer that `families` has nothing against.

    Raises ValueError if a byte has no token, a merge makes no token, or an id is too large: as `tokenizers` itself does, or
    would give no id.
    """
    vocabulary = model.vocabulary
    if model.vocab_size > MOST_IDS:
        raise ValueError(f"the GPU engine takes ids below {MOST_IDS:,}; {model.where} has {model.vocab_size - 1:,}")
    missing = [byte for byte, letter in enumerate(ALPHABET) if letter not in vocabulary]
    if missing:
        raise ValueError(f"{model.where} has no token for byte 0x{missing[0]:02x}")
    byte_ids = np.array([vocabulary[letter] for letter in ALPHABET], "<u4")
    pairs, pair_mask = _pair_table(model)
    whole = bool(model.part("model", _Settings).ignore_merges)
    tokens, token_mask, spellings = _token_table(vocabulary) if whole else (np.zeros(0, TOKEN), 0, np.zeros(0, np.uint8))
    at_pairs = HEADER.itemsize + byte_ids.nbytes
    at_tokens = at_pairs + pairs.nbytes
    header = np.array([(at_pairs, pair_mask, at_tokens, token_mask, at_tokens + tokens.nbytes, whole)], HEADER)
    return Merges(np.concatenate([part.view(np.uint8).ravel() for part in (header, byte_ids, pairs, tokens, spellings)]))


def _alphabet() -> Iterator[str]:
    """The letter for each byte, as GPT-2's encoder.py gives them: printable ones are themselves, others come behind U+00FF."""
    others = 0x100
    for byte in range(256):
        if 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or byte >= 0xAE:
            yield chr(byte)
        else:
            yield chr(others)
            others += 1


ALPHABET = tuple(_alphabet())


def _pair_table(model: Model) -> tuple[NDArray[np.void], int]:
    """The merges by their pair, and the mask of the table."""
    ids, listed = model.vocabulary, model.part("model", _Merges).merges
    both = [pair.split(" ") if isinstance(pair, str) else pair for pair in listed]
    try:
        made = [(ids[left], ids[right], ids[left + right]) for left, right in both]
    except KeyError as error:
        raise ValueError(f"a merge of {model.where} names {error}, which is no token") from error
    found = np.array(made, np.uint32).reshape(-1, 3)
    keys = found[:, 0].astype(np.uint64) << np.uint64(32) | found[:, 1]
    _, from_behind = np.unique(keys[::-1], return_index=True)
    rank = len(keys) - 1 - from_behind  # where each pair is listed last
    left, right, made_id = found[rank].T
    places, size = _places(pair_hashes(left, right))
    table = np.full(size, NONE, "<u4").astype(PAIR)  # every field
    for name, values in (("left", left), ("right", right), ("rank", rank), ("id", made_id)):
        table[name][places] = values
    return table, size - 1


def _token_table(vocabulary: dict[str, int]) -> tuple[NDArray[np.void], int, NDArray[np.uint8]]:
    """The tokens by their bytes, the mask of the table, and the bytes of all tokens end to end.

    A token with a letter that stands for no byte is no word of any text.
    """
    bytes_of = np.full(0x110000, -1, np.int16)
    bytes_of[[ord(letter) for letter in ALPHABET]] = np.arange(256)
    letters = np.frombuffer("".join(vocabulary).encode("utf-32-le", "surrogatepass"), "<u4")
    spelled = bytes_of[letters]
    lengths = np.fromiter(map(len, vocabulary), np.int64, len(vocabulary))
    ends = np.cumsum(lengths)
    strange = np.concatenate([[0], np.cumsum(spelled < 0)])
    good = np.flatnonzero((strange[ends] == strange[ends - lengths]) & (lengths > 0))
    spellings = spelled.astype(np.uint8)
    begins, lengths = (ends - lengths)[good], lengths[good]
    hashes = spelling_hashes(spellings, begins, lengths)
    places, size = _places(hashes)
    table = np.zeros(size, TOKEN)
    ids = np.fromiter(vocabulary.values(), np.int64, len(vocabulary))[good]
    for name, values in (("hash", hashes), ("begin", begins), ("length", lengths), ("id", ids)):
        table[name][places] = values
    return table, size - 1, spellings


def pair_hashes(left: NDArray[np.uint32], right: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """`pair_hash` of kernels/words.h."""
    hashes = left * np.uint32(0x9E3779B1) ^ right * np.uint32(0x85EBCA6B)
    hashes = (hashes ^ hashes >> np.uint32(15)) * np.uint32(0xC2B2AE35)
    mixed: NDArray[np.uint32] = hashes ^ hashes >> np.uint32(13)
    return mixed


def spelling_hashes(spellings: NDArray[np.uint8], begins: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.uint32]:
    """`spelling_hash` of kernels/words.h."""
    hashes = np.full(len(begins), 0x811C9DC5, np.uint32)
    for at in range(int(lengths.max(initial=0))):
        longer = np.flatnonzero(lengths > at)
        hashes[longer] = (hashes[longer] ^ spellings[begins[longer] + at]) * np.uint32(0x01000193)
    return hashes ^ hashes >> np.uint32(15)


def _places(hashes: NDArray[np.uint32]) -> tuple[NDArray[np.int64], int]:
    """A place for each of the hashes in a table at most half full, free from its hash on; and the table's size."""
    size = 1 << max(4, int(2 * len(hashes) - 1).bit_length())
    places = hashes.astype(np.int64) & (size - 1)
    taken = np.zeros(size, np.bool_)
    waiting = np.arange(len(hashes))
    while len(waiting):
        wanted = places[waiting]
        _, first = np.unique(wanted, return_index=True)
        first = first[~taken[wanted[first]]]
        taken[wanted[first]] = True
        waiting = np.delete(waiting, first)
        places[waiting] = (places[waiting] + 1) & (size - 1)
    return places, size
