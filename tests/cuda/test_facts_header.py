"""`kernels/facts.h`, compiled for a CPU, computes what `tokenmill/facts/` writes: on real text, and under hypothesis."""

import ctypes
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenmill
from tokenmill.engines import from_lengths
from tokenmill.engines.reference import ReferenceEngine
from tokenmill.facts.contamination import Contamination, Known, runs_of
from tokenmill.facts.minhash import signatures
from tokenmill.facts.texts import Ends, Texts
from tokenmill.tokenizers import Model

HEADER = Path(tokenmill.__file__).parent / "engines/cuda/kernels/facts.h"
#: A thread for each document or stretch, one after the other.
WRAPPED = f"""
#include "{HEADER}"
typedef uint32_t u32;
typedef uint64_t u64;

extern "C" void histogram(const u32* ids, u64 tokens, u64 stretch, u64* counts) {{
    for (u64 at = 0; at < tokens; at += stretch)
        facts::count_ids(ids, at, at + stretch < tokens ? at + stretch : tokens, counts);
}}

extern "C" void signatures(const u32* ids, const u64* starts, const u64* stops, u64 count, u32 size, u64* kept, u32* made) {{
    for (u64 d = 0; d < count; ++d) facts::minhash(ids, starts[d], stops[d], size, kept, made + d * size);
}}

extern "C" void shared(const u32* ids, u64 start, u64 stop, u64 stretch, u32 size, u64* kept, u32* made) {{
    for (u32 place = 0; place < size; ++place) kept[place] = facts::NOTHING;
    for (u64 at = start; at < stop; at += stretch)
        for (u32 turn = 0; turn < facts::DEALS; ++turn) facts::deal_shingles(ids, at, at + stretch, stop, turn, size, kept);
    for (u32 place = 0; place < size; ++place)
        made[place] = kept[place] == facts::NOTHING ? facts::least_of(ids, start, stop, place) : u32(kept[place]);
}}

extern "C" void looked_up(
    const u32* ids, const u64* starts, const u64* stops, u64 count, const u64* sorted, u64 runs, const u64* sieve, u32 bits,
    u64* found, u64* covered
) {{
    for (u64 d = 0; d < count; ++d)
        facts::look_up(ids, starts[d], stops[d], sorted, runs, sieve, bits, found + d, covered + d);
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


def signatures_of(built: ctypes.CDLL, texts: Texts, size: int) -> "np.ndarray[Any, Any]":
    made, kept = np.empty((len(texts), size), np.uint32), np.empty(size, np.uint64)
    places = [np.ascontiguousarray(places, np.uint64) for places in (texts.starts, texts.stops)]
    count = ctypes.c_uint64(len(texts))
    built.signatures(at(texts.ids), at(places[0]), at(places[1]), count, ctypes.c_uint32(size), at(kept), at(made))
    return made


def test_histogram_of_real_text(built: ctypes.CDLL, real: Texts) -> None:
    counts = np.zeros(int(real.ids.max()) + 1, np.uint64)
    built.histogram(at(real.ids), ctypes.c_uint64(len(real.ids)), ctypes.c_uint64(64), at(counts))
    assert np.array_equal(counts, np.bincount(real.ids))


@pytest.mark.parametrize("size", [1, 128])
def test_signatures_of_real_text(size: int, built: ctypes.CDLL, real: Texts) -> None:
    assert np.array_equal(signatures_of(built, real, size), signatures(real, size))


@given(DOCUMENTS, st.integers(1, 70))
def test_signatures(built: ctypes.CDLL, documents: list[list[int]], size: int) -> None:
    assert np.array_equal(signatures_of(built, flat(documents), size), signatures(flat(documents), size))


@given(st.lists(st.integers(0, 5), min_size=5, max_size=300), st.integers(1, 40), st.integers(1, 64))
def test_threads_may_share_a_document(built: ctypes.CDLL, document: list[int], stretch: int, size: int) -> None:
    """In stretches, and a thread for each place that is left: what one thread makes of the whole."""
    texts, kept, made = flat([document]), np.empty(size, np.uint64), np.empty(size, np.uint32)
    numbers = (0, len(document), stretch)
    built.shared(at(texts.ids), *map(ctypes.c_uint64, numbers), ctypes.c_uint32(size), at(kept), at(made))
    assert np.array_equal(made, signatures(texts, size)[0])


def look_up(built: ctypes.CDLL, texts: Texts, sets: Known) -> list[tuple[int, int, int]]:
    """Rows of what is found of a job's only test set: document, runs, tokens in them."""
    found, covered = np.zeros(len(texts), np.uint64), np.zeros(len(texts), np.uint64)
    places = [np.ascontiguousarray(places, np.uint64) for places in (texts.starts, texts.stops)]
    (runs,) = sets.runs
    numbers = (ctypes.c_uint64(len(texts)), at(runs), ctypes.c_uint64(len(runs)), at(sets.sieve), ctypes.c_uint32(sets.bits))
    built.looked_up(at(texts.ids), at(places[0]), at(places[1]), *numbers, at(found), at(covered))
    return [(d, int(found[d]), int(covered[d])) for d in np.flatnonzero(found).tolist()]


def rows(texts: Texts, sets: Known, output: Path) -> list[tuple[int, int, int]]:
    """The same, as Python writes them."""
    with Contamination(str(output), 0, sets, Counter()) as file:
        file.add(texts)
        file.publish()
    table = pq.read_table(output / "facts/000000.contamination.parquet")
    return list(zip(*(table[name].to_pylist() for name in ("document", "grams", "covered")), strict=True))


def test_test_sets_in_real_text(built: ctypes.CDLL, real: Texts, tmp_path: Path) -> None:
    runs = runs_of(from_lengths(real.ids[1000:9000], np.array([3000, 12, 13, 4975])))
    sets = Known(("quiz",), (runs,))
    found = look_up(built, real, sets)
    assert found == rows(real, sets, tmp_path)
    assert 2 < len(found) < len(real)


@given(DOCUMENTS, st.lists(st.integers(0, 1), max_size=60))
def test_test_sets(
    built: ctypes.CDLL, tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], text: list[int]
) -> None:
    documents = [*documents, text[4:], [*text[:20], 7, *text[20:]]]
    runs = runs_of(from_lengths(flat([text]).ids, flat([text]).lengths))
    sets = Known(("quiz",), (runs,))
    assert look_up(built, flat(documents), sets) == rows(flat(documents), sets, tmp_path_factory.mktemp("facts"))
