"""`kernels/facts.h`, compiled for a CPU, computes what `tokenmill/facts/` writes: on real text, and under hypothesis."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenmill
from tokenmill.engines import from_lengths
from tokenmill.engines.reference import ReferenceEngine
from tokenmill.facts.contamination import matches
from tokenmill.facts.minhash import signatures
from tokenmill.facts.testsets import Known, runs_of
from tokenmill.facts.texts import Ends, Texts
from tokenmill.tokenizers import Model

HEADER = Path(tokenmill.__file__).parent / "engines/cuda/kernels/facts.h"
SHIM = Path(__file__).with_name("shim.h")
#: A thread for each stretch, one after the other.
WRAPPED = f"""
#include "{SHIM}"
#include "{HEADER}"
typedef uint32_t u32;
typedef uint64_t u64;
using facts::Texts;

extern "C" u64 gone_through(
    const u32* ids, u64 tokens, const u32* starts, const u32* stops, u64 count, u64 stretch, u32 width, u32 least
) {{
    const Texts texts{{ids, starts, stops, count}};
    u64 runs = 0;
    for (u64 at = 0; at < tokens; at += stretch)
        facts::each_text(texts, at, at + stretch, width, least, [&](u64, u64 from, u64 to, u32 own) {{
            facts::each_number(ids, from, to, own, [&](u64) {{ ++runs; }});
        }});
    return runs;
}}

extern "C" void signatures(
    const u32* ids, u64 tokens, const u32* starts, const u32* stops, u64 count, u64 stretch, u32 size, u64* kept
) {{
    const Texts texts{{ids, starts, stops, count}};
    u32* left = new u32[count]();
    for (u64 i = 0; i < count * size; ++i) kept[i] = facts::NOTHING;
    for (u32 turn = 0; turn < facts::DEALS; ++turn) {{
        for (u64 i = 0; turn && i < count * size; ++i) if (kept[i] >= facts::LEFT) left[i / size] = turn;
        for (u64 at = 0; at < tokens; at += stretch) facts::deal(texts, at, at + stretch, turn, left, size, kept);
    }}
    for (u32 place = 0; place < size; ++place)
        for (u64 at = 0; at < tokens; at += stretch) facts::permute(texts, at, at + stretch, place, size, kept);
    delete[] left;
}}

extern "C" void looked_up(
    const u32* ids, u64 tokens, const u32* starts, const u32* stops, u64 count, const u64* sorted, u64 runs, const u64* sieve,
    u32 bits, u32* found, u32* covered
) {{
    const Texts texts{{ids, starts, stops, count}};
    for (u64 at = 0, before = 0; at < tokens; at += 64) {{
        const u64 own = facts::begins(texts, at, sorted, runs, sieve, bits);
        facts::tally(texts, at, before, own, found, covered);
        before = own;
    }}
}}
"""
DOCUMENTS = st.lists(st.lists(st.one_of(st.integers(0, 3), st.integers(0, 2**31 - 1)), max_size=60), min_size=1, max_size=9)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The header as a library."""
    compiler = shutil.which("g++")
    if compiler is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("g++ is missing: the header cannot be compiled")
    folder = tmp_path_factory.mktemp("header")
    (folder / "facts.cpp").write_text(WRAPPED)
    strict = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    done = subprocess.run([compiler, *strict, "facts.cpp", "-o", "facts.so"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / "facts.so"))


@pytest.fixture(scope="module")
def real(real_texts: list[str], tokenizer_path: Callable[[str], Path]) -> Texts:
    """Real text, with EOS in place, some of it in short documents."""
    model = Model((tokenizer_path("qwen3") / "tokenizer.json").read_bytes(), "t")
    cut = [text[:size] for text in real_texts[:60] for size in (3, 40, 9000)]
    tokens = ReferenceEngine(model).encode(pa.array(cut, pa.large_string()))
    return Ends(bos=False, eos=True, marked=False).texts(tokens.ids, tokens.lengths)


def flat(documents: list[list[int]]) -> Texts:
    ids = np.array([token for document in documents for token in document], np.uint32)
    return Ends(bos=False, eos=False, marked=False).texts(ids, np.array([len(document) for document in documents], np.int64))


def at(array: "np.ndarray[Any, Any]") -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def placed(texts: Texts) -> tuple[Any, ...]:
    """Texts as the header takes them, and what keeps their memory alive."""
    kept = [np.ascontiguousarray(places, np.uint32) for places in (texts.starts, texts.stops)]
    return (at(texts.ids), ctypes.c_uint64(len(texts.ids)), at(kept[0]), at(kept[1]), ctypes.c_uint64(len(texts))), kept


@given(DOCUMENTS, st.integers(1, 40))
def test_each_run_is_gone_through_by_one_thread(built: ctypes.CDLL, documents: list[list[int]], stretch: int) -> None:
    """More would change no result, but a long document would take the square of its length."""
    given_, _alive = placed(flat(documents))
    for width, least in ((5, 1), (13, 13)):
        numbers = (ctypes.c_uint64(stretch), ctypes.c_uint32(width), ctypes.c_uint32(least))
        runs = [max(len(document) - width + 1, 1) for document in documents if len(document) >= least]
        assert built.gone_through(*given_, *numbers) == sum(runs)


def signatures_of(built: ctypes.CDLL, texts: Texts, size: int, stretch: int) -> "np.ndarray[Any, Any]":
    kept, (given, _alive) = np.empty((len(texts), size), np.uint64), placed(texts)
    built.signatures(*given, ctypes.c_uint64(stretch), ctypes.c_uint32(size), at(kept))
    return kept.astype(np.uint32)


@pytest.mark.parametrize("size", [1, 128])
def test_signatures_of_real_text(size: int, built: ctypes.CDLL, real: Texts) -> None:
    assert np.array_equal(signatures_of(built, real, size, 1000), signatures(real, size))


@given(DOCUMENTS, st.integers(1, 70), st.integers(1, 40))
def test_signatures(built: ctypes.CDLL, documents: list[list[int]], size: int, stretch: int) -> None:
    """Whatever the stretches, a document is one thread's, or many threads'."""
    assert np.array_equal(signatures_of(built, flat(documents), size, stretch), signatures(flat(documents), size))


def look_up(built: ctypes.CDLL, texts: Texts, sets: Known) -> list[tuple[int, int, int]]:
    """Rows of what is found of a job's only test set: document, runs, tokens in them."""
    found, covered = np.zeros(len(texts), np.uint32), np.zeros(len(texts), np.uint32)
    (runs,), (given, _alive) = sets.runs, placed(texts)
    numbers = (at(runs), ctypes.c_uint64(len(runs)), at(sets.sieve), ctypes.c_uint32(sets.bits))
    built.looked_up(*given, *numbers, at(found), at(covered))
    return [(d, int(found[d]), int(covered[d])) for d in np.flatnonzero(found).tolist()]


def rows(texts: Texts, sets: Known) -> list[tuple[int, int, int]]:
    """The same, as Python finds them."""
    found = matches(texts, sets)
    return list(zip(found.documents.tolist(), found.grams.tolist(), found.covered.tolist(), strict=True))


def test_test_sets_in_real_text(built: ctypes.CDLL, real: Texts) -> None:
    runs = runs_of(from_lengths(real.ids[1000:9000], np.array([3000, 12, 13, 4975])))
    sets = Known(("quiz",), (runs,))
    found = look_up(built, real, sets)
    assert found == rows(real, sets)
    assert 2 < len(found) < len(real)


@given(DOCUMENTS, st.lists(st.integers(0, 1), max_size=60))
def test_test_sets(built: ctypes.CDLL, documents: list[list[int]], text: list[int]) -> None:
    documents = [*documents, text[4:], [*text[:20], 7, *text[20:]]]
    runs = runs_of(from_lengths(flat([text]).ids, flat([text]).lengths))
    sets = Known(("quiz",), (runs,))
    assert look_up(built, flat(documents), sets) == rows(flat(documents), sets)
