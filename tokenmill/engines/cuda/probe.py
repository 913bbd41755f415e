"""Makes the class table out of the reference engine itself: `python -m tokenmill.engines.cuda.probe`.

Comes in: the `tokenizers` that is installed. Goes out: its table, for `classes.py`. Always holds: every code point was asked
about, with the very regular expressions and normalizers that define the ids. Other sources know another Unicode: Python's own
`unicodedata` and the package `regex` each differ from `tokenizers` on thousands of letters.
"""

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import normalizers, pre_tokenizers

from tokenmill.engines.cuda.classes import POINTS, Classes, Flag, Kind, from_points, table_of
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
    unstable, reordered = _normalized(text)
    classes[unstable] |= np.uint8(Flag.UNSTABLE)
    classes[reordered] |= np.uint8(Flag.REORDERED)
    return from_points(classes)


def _matched(pattern: str, text: str) -> NDArray[np.uint32]:
    """The code points that a pattern for one character matches."""
    split = pre_tokenizers.Split(tokenizers.Regex(f"{pattern}+"), behavior="removed", invert=True)
    places = [
        np.arange(begin + first, begin + last)
        for begin in range(0, len(text), PART)
        for _, (first, last) in split.pre_tokenize_str(text[begin : begin + PART])
    ]
    return SCALARS[np.concatenate(places)]


def _normalized(text: str) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The code points that a text in NFC does not hold, or not behind every other; and those that marks change places with."""
    points = text.replace("\n", "")  # of which no normalizer makes anything, so one stands between each two
    composed = normalizers.NFC().normalize_str("\n".join(points)).split("\n")
    decomposed = normalizers.NFD().normalize_str("\n".join(points)).split("\n")
    behind = {point for whole in decomposed for point in whole[1:]}
    unstable = [c for c, became in zip(points, composed, strict=True) if became != c or c in behind]
    whole = [c for c, became in zip(points, decomposed, strict=True) if became == c]
    reordered = set()
    for before, after in ((LAST, ""), ("", FIRST)):
        lines = [f"a{before}{c}{after}" for c in whole]
        placed = normalizers.NFD().normalize_str("\n".join(lines)).split("\n")
        reordered |= {c for c, line, became in zip(whole, lines, placed, strict=True) if became != line}
    return _sorted(unstable), _sorted(reordered)


def _sorted(characters: list[str] | set[str]) -> NDArray[np.uint32]:
    return np.array(sorted(map(ord, characters)), np.uint32)


def main() -> None:
    """Write the table of the `tokenizers` that is installed, and say what classes.py has to know about it."""
    classes, path = probe(), table_of(tokenizers.__version__)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(classes.bytes)
    print(f'"{tokenizers.__version__}": "{classes.sha256}"  # {path.name}, {path.stat().st_size} bytes')  # noqa: T201


if __name__ == "__main__":
    main()
