"""Makes the class table out of the reference engine itself: `python -m tokenmill.engines.cuda.probe`.

Comes in: the `tokenizers` that is installed. Goes out: its table, for `classes.py`. Always holds: every code point was asked
about, with the very regular expressions and normalizers that define the ids. Other sources know another Unicode: Python's own
`unicodedata` and the package `regex` each differ from `tokenizers` on thousands of letters.
"""

import itertools
from collections.abc import Iterable

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import normalizers, pre_tokenizers

from tokenmill.engines.cuda.classes import POINTS, Beside, Classes, Flag, Kind, from_points, table_of
from tokenmill.engines.seams import CJK_PATTERN

PATTERNS = {
    Kind.UPPER: r"[\p{Lu}\p{Lt}]",
    Kind.LOWER: r"\p{Ll}",
    Kind.LETTER: r"[\p{Lm}\p{Lo}]",
    Kind.MARK: r"\p{M}",
    Kind.NUMBER: r"\p{N}",
    Kind.SYMBOL: r"[\p{P}\p{S}]",
    Kind.BLANK: r"[^\S\r\n]",
    Kind.NEWLINE: r"[\r\n]",
}
#: How the patterns of families.py spell the same kinds together.
TOGETHER = {
    r"\p{L}": (Kind.UPPER, Kind.LOWER, Kind.LETTER),
    r"\s": (Kind.BLANK, Kind.NEWLINE),
    r"[^\s\p{L}\p{N}]": (Kind.OTHER, Kind.MARK, Kind.SYMBOL),
    r"[^\r\n\p{L}\p{P}\p{S}]": (Kind.OTHER, Kind.MARK, Kind.NUMBER, Kind.BLANK),
}
SURROGATES = range(0xD800, 0xE000)
SCALARS = np.setdiff1d(np.arange(POINTS, dtype=np.uint32), SURROGATES)
#: Code points to a text: a call takes three times as long for all of them as for parts.
PART = 4096
#: Marks that are put in order behind all others, and before all others.
LAST, FIRST = "\u0345", "\u0334"


def probe() -> Classes:
    """Ask about every code point; takes some seconds."""
    text = SCALARS.astype("<u4").tobytes().decode("utf-32-le")
    classes = np.zeros(POINTS, np.uint8)
    for kind, pattern in PATTERNS.items():
        found = _matched(pattern, text)
        assert not classes[found].any(), f"{kind.name} takes what another kind has taken"
        classes[found] = kind
    for pattern, together in TOGETHER.items():
        assert np.array_equal(_matched(pattern, text), SCALARS[np.isin(classes[SCALARS], together)]), pattern
    classes[_matched(CJK_PATTERN.removesuffix("+"), text)] |= np.uint8(Flag.CJK)
    unstable, beside = _normalized(text)
    classes[unstable] |= np.uint8(Flag.UNSTABLE)
    classes[beside & (Beside.FOLLOWER | Beside.RANK) != 0] |= np.uint8(Flag.DEPENDENT)
    return from_points(classes, beside)


def _matched(pattern: str, text: str) -> NDArray[np.uint32]:
    """The code points that a pattern for one character matches."""
    split = pre_tokenizers.Split(tokenizers.Regex(f"{pattern}+"), behavior="removed", invert=True)
    places = [
        np.arange(begin + first, begin + last)
        for begin in range(0, len(text), PART)
        for _, (first, last) in split.pre_tokenize_str(text[begin : begin + PART])
    ]
    return SCALARS[np.concatenate(places)]


def _normalized(text: str) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """The code points that NFC changes wherever they stand, and the `Beside` of all."""
    points = text.replace("\n", "")  # of which no normalizer makes anything, so one stands between each two
    composed = normalizers.NFC().normalize_str("\n".join(points)).split("\n")
    decomposed = normalizers.NFD().normalize_str("\n".join(points)).split("\n")
    parts = {c: whole for c, whole in zip(points, decomposed, strict=True) if whole != c}
    changed = {c for c, became in zip(points, composed, strict=True) if became != c}
    # what NFC takes apart and puts together again is made of a head, and of followers one after the other
    joined = [whole for c, whole in parts.items() if c not in changed]
    followers = {point for whole in joined for point in whole[1:]}
    heads = {whole[0] for whole in joined} | set(parts)
    unstable = changed | {c for c, whole in parts.items() if whole[0] in followers}
    beside = np.zeros(POINTS, np.uint8)
    beside[_sorted(heads)] |= np.uint8(Beside.HEAD)
    beside[_sorted(followers)] |= np.uint8(Beside.FOLLOWER)
    for rank, marks in enumerate(_ranked([c for c in points if c not in parts]), 1):
        beside[_sorted(marks)] |= np.uint8(rank)
        assert rank <= Beside.RANK
    return _sorted(unstable), beside


def _ranked(points: list[str]) -> list[list[str]]:
    """The marks among code points, those of each canonical combining class, in its order: NFD puts a run of them in order."""
    nfd = normalizers.NFD().normalize_str
    marks = []
    for before, after in ((LAST, ""), ("", FIRST)):
        lines = [f"a{before}{c}{after}" for c in points]
        marks += [c for c, line, became in zip(points, lines, nfd("\n".join(lines)).split("\n"), strict=True) if became != line]
    ordered = nfd("a" + "".join(dict.fromkeys(marks)))[1:]
    classes = [[ordered[0]]]
    for before, after in itertools.pairwise(ordered):
        if nfd(f"a{after}{before}") != f"a{after}{before}":  # in this order alone, so theirs are not the same
            classes.append([])
        classes[-1].append(after)
    return classes


def _sorted(characters: Iterable[str]) -> NDArray[np.uint32]:
    return np.array(sorted(map(ord, characters)), np.uint32)


def main() -> None:
    """Write the table of the `tokenizers` that is installed, and say what classes.py has to know about it."""
    classes, path = probe(), table_of(tokenizers.__version__)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(classes.bytes)
    print(f'"{tokenizers.__version__}": "{classes.sha256}"  # {path.name}, {path.stat().st_size} bytes')  # noqa: T201


if __name__ == "__main__":
    main()
