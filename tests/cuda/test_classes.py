"""The class table is the reference's own knowledge, and no other version's."""

import re
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers

from tests.cuda.header import CLASSES, KERNELS
from tokenmill.engines.cuda import classes
from tokenmill.engines.cuda.classes import POINTS, Flag, Kind, classes_of, table_of
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
    flags = re.findall(r"^constexpr uint32_t (\w+) = (0x[0-9a-f]0);", (KERNELS / "unicode.h").read_text(), re.MULTILINE)
    assert {name: int(bits, 16) for name, bits in flags} == {flag.name: flag.value for flag in Flag}


def test_text_of_most_languages_is_stable() -> None:
    """What is not goes to another engine, so it has to be the exception."""
    assert CLASSES is not None
    for text in ("Plain.", "Voilà, déjà vu: ÀÉÎÕÜ", "中文、日本語が、한국어", "Привет, Йошкар", "हिन्दी में", "שלום", "😀👍🏽"):
        assert CLASSES.stable(text), text
    for text in ("e\u0301", "\u1100\u1161", "\u212b", "a\u0e38\u0e48", "か\u3099"):
        assert not CLASSES.stable(text), text


@given(
    text=st.text(
        st.sampled_from(
            "aeÀé가\u1100\u1161\u11a8か\u3099\u0301\u0323\u0345\u0334\u05b0\u05b1\u0e38\u0e48\u0300\u0344\u212b\u093c"
        )
    )
)
def test_nfc_leaves_stable_text_alone(text: str) -> None:
    assert CLASSES is not None
    assert not CLASSES.stable(text) or NFC.normalize_str(text) == text


def test_nfc_leaves_every_pair_with_a_mark_alone_if_both_are_stable() -> None:
    """Any two code points of those that NFC or its tables could know, which no plane but the first two holds."""
    assert CLASSES is not None
    points = np.arange(0x1FFFF, dtype=np.uint32)
    flags = CLASSES.of(points)
    stable = points[(flags & Flag.UNSTABLE == 0) & ~np.isin(points, [*range(0xD800, 0xE000), 10])]
    reordered = stable[CLASSES.of(stable) & Flag.REORDERED != 0]
    for mark in map(chr, reordered[:: len(reordered) // 6]):
        others = stable[CLASSES.of(stable) & Flag.REORDERED == 0].astype("<u4").tobytes().decode("utf-32-le")
        for text in ("\n".join(mark + other for other in others), "\n".join(other + mark for other in others)):
            assert NFC.normalize_str(text) == text
