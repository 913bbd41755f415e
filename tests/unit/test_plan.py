"""The plan covers every byte once, whatever the files, and is as even as their cuts allow."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.corpus import collect
from producer.plan import LARGEST, SMALLEST, Plannable, batch_bytes_for, plan
from tokenmill.errors import UsageError
from tokenmill.job import Cut
from tokenmill.spec import JobSpec


def spec(batch_bytes: int, separator: str | None = None) -> JobSpec:
    return JobSpec(
        sources=("/corpus",),
        tokenizer="t",
        eos_token=None,
        bos_token=None,
        dtype="int32",
        separator=separator,
        batch_bytes=batch_bytes,
        max_document_bytes=1 << 20,
    )


FILES = st.lists(
    st.one_of(
        st.builds(Plannable, url=st.just("/c/a.jsonl"), size=st.integers(0, 5000), mark=st.just("m")),
        st.builds(Plannable, url=st.just("/c/a.jsonl.zst"), size=st.integers(0, 5000), mark=st.just("m")),
        st.builds(
            lambda groups: Plannable("/c/a.parquet", sum(groups), "m", tuple(groups)),
            st.lists(st.integers(1, 900), min_size=1, max_size=9),
        ),
    ),
    min_size=1,
    max_size=20,
).map(lambda files: [replace(f, url=f.url.replace("a.", f"{i:02d}.")) for i, f in enumerate(files)])


@given(files=FILES, batch_bytes=st.integers(1, 2000))
def test_every_byte_of_every_file_is_in_exactly_one_span_in_order(files: list[Plannable], batch_bytes: int) -> None:
    batches = list(plan(files, spec(batch_bytes)))
    spans = [span for batch in batches for span in batch.spans]
    assert [batch.index for batch in batches] == list(range(len(batches)))
    assert [span.url for span in spans] == sorted(span.url for span in spans)
    for file in files:
        own = [span for span in spans if span.url == file.url]
        assert sum(span.bytes for span in own) == file.size
        if own[0].cut is not Cut.WHOLE:
            end = len(file.pieces) if file.pieces is not None else file.size
            assert [span.start for span in own] == [0, *(span.stop for span in own[:-1])]
            assert own[-1].stop == end


@given(files=FILES, batch_bytes=st.integers(1, 2000))
def test_a_batch_is_at_most_half_as_large_again_unless_one_piece_cannot_be_cut(
    files: list[Plannable], batch_bytes: int
) -> None:
    for batch in plan(files, spec(batch_bytes)):
        if len(batch.spans) > 1:
            assert batch.bytes <= batch_bytes * 5 // 4
        elif batch.spans[0].cut is Cut.BYTES:
            assert batch.bytes <= max(1.5 * batch_bytes, 1)


def test_one_huge_file_is_work_for_many() -> None:
    batches = list(plan([Plannable("/c/huge.jsonl", 10_000_000_000, "m")], spec(64 << 20)))
    sizes = [batch.bytes for batch in batches]
    assert len(batches) == 149
    assert max(sizes) - min(sizes) <= 1


def test_a_self_overlapping_separator_keeps_a_text_file_whole() -> None:
    """Of three newlines, which two separate? Only a reader from the start of the file can tell."""
    file = Plannable("/c/a.txt", 10_000, "m")
    assert {s.cut for b in plan([file], spec(1000, "\n\n")) for s in b.spans} == {Cut.WHOLE}
    assert len(list(plan([file], spec(1000, "\n-\n")))) == 1  # begins and ends with the same byte
    assert len(list(plan([file], spec(1000, "<|doc|>")))) == 10


def test_the_default_batch_size_depends_on_the_corpus_alone() -> None:
    assert batch_bytes_for(0) == SMALLEST
    assert batch_bytes_for(64 * 10_000_000) == 10_000_000
    assert batch_bytes_for(10**15) == LARGEST


def test_an_unreadable_folder_is_an_error_and_no_smaller_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`os.walk` passes over what it may not list. Tests often run as root, which may; so the refusal is played."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open/a.jsonl").write_text("{}")
    (tmp_path / "shut").mkdir()
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UsageError, match="shut cannot be read: Permission denied"):
        collect([str(tmp_path)])


def test_files_are_listed_once_and_in_order_however_they_are_named(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.parquet", "deep/c.txt", "deep/notes.md", ".hidden.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    named = [str(tmp_path), str(tmp_path / "b.jsonl"), str(tmp_path / "**/*.txt")]
    corpus = collect(named)
    assert [Path(file.url).name for file in corpus.files] == ["a.parquet", "b.jsonl", "c.txt"]
    assert dict(corpus.passed_over) == {".md": 1}
    assert corpus.fingerprint() == collect(reversed(named)).fingerprint()
    os.utime(tmp_path / "b.jsonl", ns=(1, 1))
    assert corpus.fingerprint() != collect(named).fingerprint()
