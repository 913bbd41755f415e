"""Where words begin, as rules over whole arrays: what the kernels compute, said a second time and without a walk.

Comes in: documents, and the class of each of their characters. Goes out: whether a word begins at each. Always holds: a rule
looks at neighbours and at runs, so any position could be decided by itself; that is why a GPU can cut text at all. Only o200k's
look at their own results for what stands before, and are repeated until these stand.
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


def _o200k(c: Characters) -> Mask:
    letter, mark, number, newline = c.of(*LETTERS), c.of(Kind.MARK), c.of(Kind.NUMBER), c.of(Kind.NEWLINE)
    symbol, upper, place = c.of(Kind.OTHER, Kind.SYMBOL), c.of(Kind.UPPER), np.arange(len(c.text))
    ends = newline | (c.points == ord("/"))
    short, long = _apostrophes(c, either_case=True)
    taken = contracted = np.zeros(len(place), np.bool_)
    while True:
        # symbols that no word has for its first character begin a run, in which marks are symbols
        mixed = (symbol | mark) & ~taken
        lone = symbol & mixed & (c.is_after(" ") | ~c.at(1, letter | mark))
        last_lone = np.maximum.accumulate(np.where(lone, place, -1))
        run = mixed & (last_lone >= c.begin(mixed))
        word = (letter | (mark & ~run)) & ~contracted
        # what earlier symbols take of newlines and slashes, and earlier words of apostrophes and letters
        first = np.maximum.accumulate(np.where(newline & c.at(-1, run), place, -1))
        now_taken = ends & (first >= c.begin(ends))
        one, two = short & c.at(-1, word), long & c.at(-1, word)
        now_contracted = one | two | c.at(-1, one | two) | c.at(-2, two)
        if np.array_equal(taken, now_taken) and np.array_equal(contracted, now_contracted):
            break
        taken, contracted = now_taken, now_contracted
    starts = number & ((place - c.begin(number)) % 3 == 0)
    starts |= symbol & mixed & ~run & ~contracted
    starts |= run & ~c.at(-1, run) & ~c.is_after(" ")
    starts |= word & ~c.at(-1, word | c.of(Kind.BLANK) | (symbol & mixed & ~run & ~contracted))
    # within letters, an upper-case one begins a word behind lower case, and so do the last that have none behind them
    not_upper, last_upper = word & ~upper, c.end(word & upper) == c.end(word)
    lower = np.maximum.accumulate(np.where(word & c.of(Kind.LOWER), place, -1)) >= c.begin(not_upper)
    starts |= word & upper & c.at(-1, not_upper) & (c.at(-1, lower) | last_upper)
    return starts | _spaces(c, newline & taken)


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
    begins = ~c.at(-1, symbol) & ~c.is_after(" ")
    short, long = (begins & found for found in _apostrophes(c, either_case=either_case))
    starts = (starts | short | long) & ~c.at(-1, short | long) & ~c.at(-2, long)
    return starts | c.at(-2, short) | c.at(-3, long)


def _apostrophes(c: Characters, *, either_case: bool) -> tuple[Mask, Mask]:
    """Those with one of s t m d behind them, and those with one of re ve ll."""
    lower = c.points
    if either_case:
        lower = np.where((c.points < 0x80) & c.of(Kind.UPPER), c.points | 0x20, c.points)
        lower = np.where(lower == ord("ſ"), ord("s"), lower)
    apostrophe, second, third = c.points == ord("'"), c.at(1, lower, 0), c.at(2, lower, 0)
    pairs = [(second == ord(pair[0])) & (third == ord(pair[1])) for pair in ("re", "ve", "ll")]
    return apostrophe & np.isin(second, [ord(letter) for letter in "stmd"]), apostrophe & np.logical_or.reduce(pairs)


LETTERS = (Kind.UPPER, Kind.LOWER, Kind.LETTER)
SPACES = (Kind.BLANK, Kind.NEWLINE)
RULES: dict[Family, Callable[[Characters], Mask]] = {
    Family.GPT2: _gpt2,
    Family.CL100K: _cl100k,
    Family.QWEN2: lambda c: _cl100k(c, digits=1),
    Family.O200K: _o200k,
    Family.DEEPSEEK_V3: _deepseek,
}
