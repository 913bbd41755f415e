"""Where words begin, as rules over whole arrays: what the kernels compute, said a second time and without a walk.

Comes in: documents, and the class of each of their characters. Goes out: whether a word begins at each. Always holds: a rule
looks at neighbours and at runs, so any position could be decided by itself; that is why a GPU can cut text at all. o200k is not
among them: whether a mark is a letter there depends on all words since the last certain place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.cuda.header import CLASSES
from tokenmill.engines.cuda.classes import Flag, Kind
from tokenmill.engines.cuda.families import Family

Mask = NDArray[np.bool_]
#: What stands before the first character and behind the last.
NOTHING = 15


@dataclass
class Characters:
    """The characters of some documents, end to end."""

    points: NDArray[np.uint32]
    kinds: NDArray[np.uint8]
    cjk: Mask
    #: Which text each belongs to; none is looked at from another one.
    text: NDArray[np.int64]

    @property
    def first(self) -> Mask:
        return np.diff(self.text, prepend=-1) != 0

    def at(self, distance: int, values: NDArray[np.generic], missing: object = False) -> NDArray[np.generic]:
        """What stands at a distance from each character, in the same text."""
        places = np.arange(len(self.text)) + distance
        inside = (places >= 0) & (places < len(places))
        places = np.where(inside, places, 0)
        return np.where(inside & (self.text[places] == self.text), values[places], missing)

    def of(self, *kinds: Kind) -> Mask:
        return np.isin(self.kinds, kinds)

    def begin(self, run: Mask) -> NDArray[np.int64]:
        """Where the run begins that a character belongs to; means nothing outside of runs."""
        return np.maximum.accumulate(np.where(run & ~self.at(-1, run), np.arange(len(run)), 0))

    def end(self, run: Mask) -> NDArray[np.int64]:
        """The last of the run that a character belongs to."""
        last = np.where(run & ~self.at(1, run), np.arange(len(run)), len(run))
        return np.minimum.accumulate(last[::-1])[::-1]

    def is_after(self, character: str) -> Mask:
        return self.at(-1, self.points == ord(character))


def words(family: Family, documents: Sequence[str]) -> Mask:
    """Whether a word begins at each byte of the documents' UTF-8, end to end."""
    assert CLASSES is not None
    points = np.frombuffer("".join(documents).encode("utf-32-le"), np.uint32)
    classes = CLASSES.of(points)
    text = np.repeat(np.arange(len(documents)), [len(document) for document in documents])
    found = RULES[family](Characters(points, classes & 15, classes & Flag.CJK != 0, text))
    lengths = 1 + (points > 0x7F).astype(np.int64) + (points > 0x7FF) + (points > 0xFFFF)
    starts = np.zeros(int(lengths.sum()), np.bool_)
    starts[(np.cumsum(lengths) - lengths)[found]] = True
    return starts


def _gpt2(c: Characters) -> Mask:
    letter, space = c.of(*LETTERS), c.of(*SPACES)
    kinds = np.select([letter, c.of(Kind.NUMBER), space], [0, 1, 2], 3)
    starts = kinds != c.at(-1, kinds, NOTHING)
    starts &= space | ~c.is_after(" ")  # a space goes with what follows,
    starts |= space & ~c.at(1, space, True)  # and any other blank is one by itself there
    return _contractions(c, starts, kinds == 3, either_case=False)


def _cl100k(c: Characters, digits: int = 3) -> Mask:
    letter, number, newline = c.of(*LETTERS), c.of(Kind.NUMBER), c.of(Kind.NEWLINE)
    symbol = c.of(Kind.OTHER, Kind.MARK, Kind.SYMBOL)
    starts = number & ((np.arange(len(number)) - c.begin(number)) % digits == 0)
    starts |= symbol & ~c.at(-1, symbol) & ~c.is_after(" ")
    starts |= letter & ~c.at(-1, letter | c.of(Kind.BLANK) | (symbol & starts))
    starts |= _spaces(c, newline & c.at(-1, symbol)[c.begin(newline)])
    return _contractions(c, starts, symbol, either_case=True)


def _deepseek(c: Characters) -> Mask:
    # the first two patterns make texts of numbers and of CJK, and the third sees one text at a time
    number = c.of(Kind.NUMBER)
    apart = c.first | (c.at(-1, number) != number) | (c.at(-1, c.cjk) != c.cjk)
    c = Characters(c.points, c.kinds, c.cjk, np.cumsum(apart))
    word, symbol, other, newline = c.of(*LETTERS, Kind.MARK), c.of(Kind.SYMBOL), c.of(Kind.OTHER), c.of(Kind.NEWLINE)
    starts = number & ((np.arange(len(number)) - c.begin(number)) % 3 == 0)
    starts |= symbol & ~c.at(-1, symbol) & ~c.is_after(" ")
    starts |= other & ~(c.at(-1, other) & ~(c.at(1, word)))
    # an ASCII symbol takes the ASCII letters behind it, and no others
    ascii_letter = c.of(*LETTERS) & (c.points < 0x80)
    joined = ascii_letter & c.at(-1, symbol & starts & (c.points < 0x80))
    starts |= word & ~joined & ~c.at(-1, word | other | c.of(Kind.BLANK))
    starts |= word & ~ascii_letter & c.at(-1, ascii_letter & joined[c.begin(ascii_letter)])
    return starts | _spaces(c, newline & c.at(-1, symbol)[c.begin(newline)])


def _spaces(c: Characters, taken: Mask) -> Mask:
    """Words of whitespace: up to the last newline of a run, up to its last but one character, and that one.

    Args:
        taken: newlines that belong to the symbols before them.
    """
    space, newline = c.of(*SPACES) & ~taken, c.of(Kind.NEWLINE) & ~taken
    place = np.arange(len(space))
    last_newline = np.full(len(space) + 1, -1)
    np.maximum.at(last_newline, c.end(space)[newline], place[newline])
    behind = place > last_newline[c.end(space)]  # the last newline of its run, or there is none
    starts = place == c.begin(space)
    starts |= behind & c.at(-1, newline)
    starts |= behind & (place == c.end(space)) & (c.at(1, c.kinds, NOTHING) != NOTHING)
    return space & starts


def _contractions(c: Characters, starts: Mask, symbol: Mask, *, either_case: bool) -> Mask:
    """'s 't 'm 'd 're 've 'll are words wherever an apostrophe begins one."""
    apostrophe = (c.points == ord("'")) & ~c.at(-1, symbol) & ~c.is_after(" ")
    lower = np.where((c.points < 0x80) & c.of(Kind.UPPER) & either_case, c.points | 0x20, c.points)
    if either_case:
        lower = np.where(lower == ord("ſ"), ord("s"), lower)
    second, third = c.at(1, lower, 0), c.at(2, lower, 0)
    short = apostrophe & np.isin(second, [ord(letter) for letter in "stmd"])
    pairs = [(second == ord(pair[0])) & (third == ord(pair[1])) for pair in ("re", "ve", "ll")]
    long = apostrophe & np.logical_or.reduce(pairs)
    starts = (starts | apostrophe) & ~c.at(-1, short | long) & ~c.at(-2, long)
    return starts | c.at(-2, short) | c.at(-3, long)


LETTERS = (Kind.UPPER, Kind.LOWER, Kind.LETTER)
SPACES = (Kind.BLANK, Kind.NEWLINE)
RULES: dict[Family, Callable[[Characters], Mask]] = {
    Family.GPT2: _gpt2,
    Family.CL100K: _cl100k,
    Family.QWEN2: lambda c: _cl100k(c, digits=1),
    Family.DEEPSEEK_V3: _deepseek,
}
