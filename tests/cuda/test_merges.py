"""The kernels that encode words, on the processor, against the reference's own BPE: word by word, without any pre-tokenizer."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
import tokenizers
from numpy.typing import NDArray

from tests.cuda.host import HostDevice
from tokenmill.engines.cuda import merges
from tokenmill.engines.cuda.batch import BLOCK, PADDING, TOTALS, Extent, Kernels, Rules, Slot
from tokenmill.engines.cuda.classes import classes_of
from tokenmill.engines.cuda.device import Memory
from tokenmill.engines.cuda.families import Cutting, cutting_of
from tokenmill.tokenizers import Model

FAMILIES = ("gpt2", "cl100k", "llama3", "qwen3", "gptoss", "deepseek")
TEXT, WORDS = 4 << 20, 1 << 17


class Bench:
    """The kernels of one tokenizer, given words instead of text: each is a document, and begins where we say so."""

    def __init__(self, model: Model, *, entries: int = 1 << 16) -> None:
        self.device = HostDevice(lazy=False)
        cutting, classes = cutting_of(model), classes_of(tokenizers.__version__)
        assert isinstance(cutting, Cutting)
        assert classes is not None
        self.stream, extent = self.device.stream(), Extent(TEXT, WORDS)
        self.rules = Rules(self.device, self.stream, cutting, classes, merges.merges_of(model), entries)
        self.kernels, self.slot = Kernels(self.device, self.stream, self.rules, extent), Slot(self.device.allocate, extent)

    def encode(self, words: Sequence[bytes], **options: int | None) -> tuple[NDArray[np.uint32], NDArray[np.uint32], np.void]:
        """Ids of all words, where each word's begin, and what was counted."""
        text = b"".join(words)
        offsets = np.cumsum([0, *map(len, words)], dtype=np.uint32)
        blocks = len(text) // BLOCK + 1
        starts = np.zeros(64 * (blocks + 1), np.bool_)
        starts[offsets[:-1][np.diff(offsets) > 0]] = True
        totals = np.zeros(1, TOTALS)
        totals["blocks"] = blocks
        self._put(np.frombuffer(bytes(PADDING) + text + bytes(PADDING), np.uint8), self.slot.text)
        self._put(offsets, self.slot.offsets)
        self._put(totals, self.slot.totals)
        self._put(np.packbits(starts, bitorder="little"), self.kernels.work.starts)
        self.stream.clear(self.slot.doubtful)
        self.kernels.encode(self.slot, len(text), len(words), **options)
        self.stream.download(self.slot.totals, totals)
        ends = np.empty(len(words) + 1, np.uint32)
        self.stream.download(self.slot.token_offsets, ends)
        ids = np.empty(int(ends[-1]), np.uint16 if options.get("width") == 2 else np.uint32)
        self.stream.download(self.slot.ids, ids)
        return ids.astype(np.uint32), ends, totals[0]

    def doubtful(self, count: int) -> list[int]:
        found = np.empty(count, np.uint8)
        self.stream.download(self.slot.doubtful, found)
        return np.flatnonzero(found).tolist()

    def _put(self, array: NDArray[np.generic], memory: Memory) -> None:
        self.stream.upload(array, memory)

    def entries(self) -> int:
        found = np.empty(1, np.uint32)
        self.stream.download(self.rules.table.entries, found)
        return int(found[0])


def ids_of(model: Model, words: Sequence[bytes]) -> list[list[int]]:
    """What the reference's model makes of words that nothing has cut."""
    bpe = model.reference().model
    letters = {byte: merges.ALPHABET[byte] for byte in range(256)}
    return [[token.id for token in bpe.tokenize("".join(map(letters.__getitem__, word)))] for word in words]


@pytest.fixture(scope="module")
def real_words(real_texts: list[str]) -> list[bytes]:
    """Words of real text as GPT-2 cuts it, which is much as all do; those of up to 256 bytes."""
    cutter = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backwards = {letter: byte for byte, letter in enumerate(merges.ALPHABET)}
    found = {word for text in real_texts for word, _ in cutter.pre_tokenize_str(text) if len(word) <= 256}
    return [bytes(map(backwards.__getitem__, word)) for word in sorted(found)]


def made_words(model: Model) -> Iterator[bytes]:
    """Words that no text has: random bytes, runs, the vocabulary's own tokens whole, cut off and joined."""
    chance = random.Random(11)
    alphabets = (bytes(range(256)), b"ab", b" \n", b"aeinrst ", "éèàüß".encode(), "中文的一是".encode(), b"0123456789", b"=-_*")
    for _ in range(4000):
        alphabet = chance.choice(alphabets)
        length = chance.choice((chance.randint(1, 20), chance.randint(1, 64), chance.randint(1, 256)))
        yield bytes(chance.choices(alphabet, k=length))
    for piece in (b"a", b" ", b"ab", b"=", "中".encode(), b"\xff", b"Aa1"):
        yield from (piece * count for count in range(1, 256 // len(piece) + 1))
    backwards = {letter: byte for byte, letter in enumerate(merges.ALPHABET)}
    tokens = chance.sample(sorted(model.vocabulary), 4000) + sorted(model.vocabulary, key=len)[-200:]
    spelled = [bytes(map(backwards.__getitem__, token)) for token in tokens if set(token) <= set(merges.ALPHABET)]
    for one, other in zip(spelled, reversed(spelled), strict=True):
        yield from (word[:256] for word in (one, one[:-1], one[1:], one + other, other[:7] + one * 2) if word)


@pytest.mark.parametrize("family", FAMILIES)
def test_words_have_the_ids_that_the_reference_gives_them(
    family: str, model_of: Callable[[str], Model], real_words: list[bytes]
) -> None:
    subject = model_of(family)
    words = sorted({*real_words, *made_words(subject)})
    expected = ids_of(subject, words)
    bench = Bench(subject)
    assert len(words) > 30_000
    for warm in (False, True):  # the second time most are in the table
        ids, ends, totals = bench.encode(words)
        found = [ids[a:b].tolist() for a, b in pairwise(ends.tolist())]
        assert [word for word, a, b in zip(words, found, expected, strict=True) if a != b] == []
        assert bench.doubtful(len(words)) == []
        assert totals["words"] == len(words)
        assert totals["longs"] == sum(len(word) > 64 for word in words)
        kept = sum(len(word) <= 15 and len(made) <= 4 for word, made in zip(words, expected, strict=True))
        missed = totals["words"] - totals["longs"] - totals["shorts"]
        assert missed == 0 if not warm else missed > 0.95 * kept
    assert bench.entries() <= 1 << 16
    assert bench.device.intact()


def test_a_full_table_changes_nothing(model_of: Callable[[str], Model], real_words: list[bytes]) -> None:
    """64 words in a table of 128 places, and thousands that find none."""
    words = real_words[:20_000]
    small, large = Bench(model_of("gpt2"), entries=64), Bench(model_of("gpt2"))
    small.encode(words)
    assert small.entries() == 64
    for _ in range(2):
        for one, other in zip(small.encode(words)[:2], large.encode(words)[:2], strict=True):
            assert np.array_equal(one, other)
    assert small.entries() == 64


def test_a_word_that_is_too_long_makes_its_document_doubtful_and_no_other(model_of: Callable[[str], Model]) -> None:
    words = [b"a" * size for size in (256, 257, 64, 1000, 65, 255, 63)]
    for family in ("gpt2", "llama3"):
        bench = Bench(model_of(family))
        ids, ends, _ = bench.encode(words)
        assert bench.doubtful(len(words)) == [1, 3]
        fitting = [i for i, word in enumerate(words) if len(word) <= 256]
        found = [ids[ends[i] : ends[i + 1]].tolist() for i in fitting]
        assert found == ids_of(model_of(family), [words[i] for i in fitting])


def test_bos_eos_and_ids_of_two_bytes(model_of: Callable[[str], Model]) -> None:
    words = [b"", b"one", b" two", b"", b"", b" three" * 20, b""]
    bench, bare = Bench(model_of("gpt2")), ids_of(model_of("gpt2"), words)
    for bos, eos in ((None, 50256), (50256, None), (1, 2)):
        expected = [[bos] * (bos is not None) + ids + [eos] * (eos is not None) for ids in bare]
        for width in (2, 4):
            ids, ends, totals = bench.encode(words, bos=bos, eos=eos, width=width)
            assert [ids[a:b].tolist() for a, b in pairwise(ends.tolist())] == expected
            assert totals["tokens"] == sum(map(len, bare))


def test_a_vocabulary_without_a_byte_or_with_a_merge_of_nothing_is_refused() -> None:
    letters = {letter: byte for byte, letter in enumerate(merges.ALPHABET)}

    def tokenizer(vocabulary: dict[str, int], *pairs: str) -> Model:
        return Model(json.dumps({"model": {"type": "BPE", "vocab": vocabulary, "merges": pairs}}).encode(), "mine.json")

    missing = {letter: byte for letter, byte in letters.items() if byte != 0xFF}
    with pytest.raises(ValueError, match=r"mine\.json has no token for byte 0xff"):
        merges.merges_of(tokenizer(missing))
    with pytest.raises(ValueError, match=r"a merge of mine\.json names 'ab'"):
        merges.merges_of(tokenizer(letters, "a b"))
    with pytest.raises(ValueError, match="takes ids below 16,777,216"):
        merges.merges_of(tokenizer({**letters, "ab": 1 << 24}))


def test_of_a_pair_listed_twice_the_last_place_counts() -> None:
    """As in the reference, where it changes what is merged first: abc is a+bc, and not ab+c."""
    pairs = ["a b", "b c", "a b", "a bc"]
    vocabulary = {letter: byte for byte, letter in enumerate(merges.ALPHABET)} | {"ab": 300, "bc": 301, "abc": 302}
    split = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    content = {"version": "1.0", "model": {"type": "BPE", "vocab": vocabulary, "merges": pairs}, "pre_tokenizer": split}
    model = Model(json.dumps({**content, "added_tokens": []}).encode(), "mine.json")
    words = [b"abc", b"ab", b"bc", b"aabcc"]
    assert ids_of(model, words)[0] == [302]
    ids, ends, _ = Bench(model).encode(words)
    assert [ids[a:b].tolist() for a, b in pairwise(ends.tolist())] == ids_of(model, words)
