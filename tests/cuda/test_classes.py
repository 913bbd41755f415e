"""The class table is the reference's own knowledge, and no other version's."""

import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import normalizers

from tests.cuda.header import CLASSES, KERNELS
from tokenmill.engines.cuda import classes
from tokenmill.engines.cuda.classes import POINTS, Beside, Flag, Kind, classes_of, table_of
from tokenmill.engines.cuda.families import Family
from tokenmill.engines.cuda.probe import probe

NFC = normalizers.NFC()


def test_the_shipped_table_is_what_the_reference_says_today() -> None:
    probed = probe()
    assert table_of(tokenizers.__version__).read_bytes() == probed.bytes
    assert classes.SHA256[tokenizers.__version__] == probed.sha256
    assert CLASSES is not None
    assert np.array_equal(CLASSES.of(np.arange(POINTS, dtype=np.uint32)), probed.of(np.arange(POINTS, dtype=np.uint32)))


def test_a_table_of_another_version_or_a_damaged_one_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(table_of(tokenizers.__version__).read_bytes())
    assert classes_of("0.20.0") is None
    monkeypatch.setattr(classes, "TABLES", tmp_path)
    assert classes_of(tokenizers.__version__) is None
    table_of(tokenizers.__version__).write_bytes(data)
    assert classes_of(tokenizers.__version__) is not None
    data[-7] ^= 1
    table_of(tokenizers.__version__).write_bytes(data)
    assert classes_of(tokenizers.__version__) is None


@pytest.mark.parametrize(("file", "enum"), [("unicode.h", Kind), ("pretokens.h", Family)], ids=["Kind", "Family"])
def test_header_and_python_number_alike(file: str, enum: type[Kind] | type[Family]) -> None:
    found = re.search(rf"^enum {enum.__name__} {{ (.*?)(, END = 15)? }};$", (KERNELS / file).read_text(), re.MULTILINE)
    assert found
    assert found[1].split(", ") == [member.name for member in enum]
    assert list(enum) == list(range(len(enum)))


def test_header_and_python_flag_alike() -> None:
    flags = re.findall(r"^constexpr uint32_t (\w+) = (0x[0-9a-f]+);", (KERNELS / "unicode.h").read_text(), re.MULTILINE)
    python = {flag.name: flag.value for enum in (Flag, Beside) for flag in enum}
    assert {name: int(bits, 16) for name, bits in flags} == python | {"KIND": 0x0F, "RANK": 0x3F}


def test_text_of_most_languages_is_stable() -> None:
    """What is not goes to another engine, so it has to be the exception: neither Thai tones, points of Hebrew and Arabic and
    Indian nuktas nor vowels that would join others are, in the order that NFC has."""
    assert CLASSES is not None
    spoken = ("Plain.", "Voilà, déjà vu: ÀÉÎÕÜ", "Tiếng Việt", "中文、日本語が、한국어", "Привет, Йошкар", "😀👍🏽")
    written = ("שלום", "בְּרֵאשִׁית בָּרָא אֱלֹהִים", "السَّلَامُ عَلَيْكُمْ", "हिन्दी में, लड़का बड़ा", "আমাদের বাংলা কো", "தமிழ் பாட்டு கொ")
    for text in (*spoken, *written, "х\u0301", "\u0301e", "\u0e48"):
        assert CLASSES.stable(text), text
        assert NFC.normalize_str(text) == text, text
    swapped = ("ก\u0e48\u0e38", "ב\u05bc\u05b0", "ل\u0651\u064e")
    joined = ("e\u0301", "ẹ\u0302", "é\u0323", "\u1100\u1161", "か\u3099", "न\u093c", "\u0bc6\u0bbe", "\u09c7\u09be")
    for text in (*swapped, *joined, "\u212b", "\u0958", "\u0344"):
        assert not CLASSES.stable(text), text
        assert NFC.normalize_str(text) != text, text


def test_other_sources_know_the_same_marks_in_the_same_order_or_know_more() -> None:
    """Python's own tables, which are younger: what they call a mark may be none to the reference, never the other way round."""
    assert CLASSES is not None
    ranks = CLASSES.beside_of(np.arange(POINTS, dtype=np.uint32)) & Beside.RANK
    marks = np.flatnonzero(ranks)
    pairs = {(int(ranks[mark]), unicodedata.combining(chr(mark))) for mark in marks}
    assert len(pairs) == len({rank for rank, _ in pairs}) == len({combining for _, combining in pairs}) > 50
    assert sorted(pairs) == sorted(pairs, key=lambda pair: pair[1])
