"""Lists of sources, globs to take and leave, and seeded samples: the same choice wherever it is made."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer import bytesize
from producer.corpus import absolute, collect
from producer.plan import Plannable, plan, tickets
from producer.sample import PIECE, Sample
from producer.selection import Selection
from tests.unit.test_plan import spec
from tests.webserver import WebServer
from tokenmill.errors import UsageError
from tokenmill.job import Cut, Span
from tokenmill.spec import Sampling

ODD = [
    "a b.jsonl",
    "50%+ü&=.jsonl",
    "[1]?.jsonl",
    "语料.jsonl",
    "#one.jsonl",
    "@two.jsonl",
    "~three.jsonl",
    " led.jsonl",
    "{x},y.jsonl",
]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name in ("top.jsonl", "en/a.jsonl", "en/a.txt", "en/deep/b.jsonl.gz", "de/a.jsonl", "de/notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("x")
    return tmp_path


def names(*sources: object, **globs: tuple[str, ...]) -> list[str]:
    return [file.name for file in collect([absolute(str(source)) for source in sources], Selection(**globs)).files]


@pytest.mark.parametrize(
    ("include", "exclude", "taken"),
    [
        ((), (), ["de/a.jsonl", "en/a.jsonl", "en/a.txt", "en/deep/b.jsonl.gz", "top.jsonl"]),
        (("*.jsonl",), (), ["de/a.jsonl", "en/a.jsonl", "top.jsonl"]),
        (("en/**",), (), ["en/a.jsonl", "en/a.txt", "en/deep/b.jsonl.gz"]),
        (("en/*", "top.*"), ("*.txt",), ["en/a.jsonl", "top.jsonl"]),
        ((), ("**/deep/*", "a.*"), ["top.jsonl"]),
        (("/**/de/*",), (), ["de/a.jsonl"]),
    ],
)
def test_globs_take_and_leave(corpus: Path, include: tuple[str, ...], exclude: tuple[str, ...], taken: list[str]) -> None:
    assert names(corpus, include=include, exclude=exclude) == taken
    found = collect([str(corpus)], Selection(include, exclude))
    assert (found.left_out, dict(found.passed_over)) == (5 - len(taken), {".md": 1})


def test_the_path_below_what_was_named(corpus: Path) -> None:
    """For a glob that is the folder before its first wildcard; for a file its own name; of two the nearer one."""
    assert names(corpus / "*/a.jsonl") == ["de/a.jsonl", "en/a.jsonl"]
    assert names(corpus / "en/a.jsonl") == ["a.jsonl"]
    assert (
        names(corpus, corpus / "en")
        == names(corpus / "en", corpus)
        == ["de/a.jsonl", "a.jsonl", "a.txt", "deep/b.jsonl.gz", "top.jsonl"]
    )
    assert names(corpus, include=("de/*",)) == names(corpus / "**", include=("de/*.jsonl",))


def test_what_leaves_nothing_is_an_error_with_counts(corpus: Path) -> None:
    with pytest.raises(UsageError, match=r"of 5 files, --include '\*\.parquet' --exclude 'x' leaves none"):
        names(corpus, include=("*.parquet",), exclude=("x",))
    for glob in ("", "en/"):
        with pytest.raises(UsageError, match="names no file"):
            Selection(include=(glob,))


def test_a_list_names_files_folders_and_globs_once_each_and_in_order(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["# a comment", "", "en", f"{corpus}/en/a.jsonl", f"../{corpus.name}/de/*.jsonl", "top.jsonl\r", "top.jsonl"]
    (corpus / "list.of").write_text("\ufeff" + "\n".join(lines), "utf-8")
    monkeypatch.chdir(corpus / "en")
    found = collect([absolute("@../list.of")])
    assert [file.url for file in found.files] == [
        f"{corpus}/{name}" for name in ("de/a.jsonl", "en/a.jsonl", "en/a.txt", "en/deep/b.jsonl.gz", "top.jsonl")
    ]
    assert absolute("@../list.of") == f"@{corpus}/list.of"


def test_a_list_with_odd_names(tmp_path: Path) -> None:
    for name in ODD:
        (tmp_path / name).write_text("x")
    (tmp_path / "list").write_text("".join(f"./{name}\n" if name[0] in "#@~" else f"{name}\n" for name in ODD), "utf-8")
    assert sorted(names(f"@{tmp_path}/list")) == sorted(ODD)
    assert names(tmp_path, include=("*.jsonl",)) == sorted(ODD)


def test_a_list_in_an_object_store(prefix: str) -> None:
    from tokenmill import storage

    storage.put(f"{prefix}/lists/l.txt", b"deep/a.jsonl\n" + f"{prefix}/b.jsonl".encode())
    storage.put(f"{prefix}/lists/deep/a.jsonl", b"x")
    storage.put(f"{prefix}/b.jsonl", b"x")
    assert sorted(names(f"@{prefix}/lists/l.txt")) == ["a.jsonl", "b.jsonl"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "names no source"),
        ("# only\n\n", "names no source"),
        ("top.jsonl\nnone.jsonl", r"list, line 2: .*none\.jsonl: there is no such file"),
        ("@list", "line 1: a list cannot name another list"),
        ("top.jsonl\n\nftp://host/x", "line 3: .*ftp:// is not served|ftp:// is not served"),
    ],
)
def test_a_list_that_makes_no_sense(corpus: Path, lines: str, said: str) -> None:
    (corpus / "list").write_text(lines)
    with pytest.raises(UsageError, match=said):
        collect([f"@{corpus}/list"])


def test_lists_that_cannot_be_read_or_reach_too_far(corpus: Path) -> None:
    (corpus / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is no list of sources: it is not UTF-8"):
        collect([f"@{corpus}/binary"])
    with pytest.raises(UsageError, match="No such file"):
        collect([f"@{corpus}/none"])
    with WebServer() as server:
        server.put("/c/a.jsonl", b"x")
        assert names(f"@{server.put('/c/list.txt', b'a.jsonl')}") == ["a.jsonl"]
        with pytest.raises(UsageError, match="a list from elsewhere cannot name '/etc/passwd'"):
            collect([f"@{server.put('/c/list.txt', b'/etc/passwd')}"])


@pytest.mark.parametrize(
    ("text", "size"), [("500MB", 500_000_000), ("2GiB", 2 << 30), ("1.5 kb", 1500), ("7", 7), ("1tib", 1 << 40)]
)
def test_sizes(text: str, size: int) -> None:
    assert bytesize.parsed(text, "--limit") == size


@pytest.mark.parametrize("text", ["", "MB", "5 bananas", "-1", "0", "1e9", "500M"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match=r"--limit .* is no size"):
        bytesize.parsed(text, "--limit")


def _numbered(file: Plannable, number: int) -> Plannable:
    return replace(file, url=file.url.replace("a.", f"{number:02d}."), name=f"{number:02d}")


SIZES = st.integers(0, 40 * PIECE)
FILES = st.lists(
    st.one_of(
        st.builds(lambda size: Plannable("/c/a.jsonl", size, "m"), SIZES),
        st.builds(lambda size: Plannable("/c/a.jsonl.zst", size, "m"), SIZES),
        st.builds(lambda size: Plannable("/c/a.jsonl", size, "m", ranged=False), SIZES),
        st.lists(st.integers(1, 2 * PIECE), min_size=1, max_size=20).map(
            lambda groups: Plannable("/c/a.parquet", sum(groups), "m", tuple(groups))
        ),
    ),
    min_size=1,
    max_size=12,
).map(lambda files: [_numbered(file, number) for number, file in enumerate(files)])
JOB = spec(4 * PIECE)


def taken(files: list[Plannable], sample: Sample | None) -> list[Span]:
    return [span for batch in plan(files, JOB, sample) for span in batch.spans]


def units(spans: list[Span]) -> set[tuple[str, int]]:
    """Spans as what cannot be divided further: bytes by their PIECE, row groups, whole files. Fails where two overlap."""
    found: list[tuple[str, int]] = []
    for span in spans:
        if span.cut is Cut.BYTES:
            assert span.start % PIECE == 0
            found += [(span.url, number) for number in range(span.start // PIECE, -(-span.stop // PIECE) or 1)]
        else:
            found += [(span.url, number) for number in range(span.start, max(span.stop, span.start + 1))]
    assert len(found) == len(set(found))
    return set(found)


@settings(max_examples=60)
@given(files=FILES, shares=st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)), seed=st.integers())
def test_a_larger_share_contains_the_smaller_one_and_pieces_are_disjoint_and_in_order(
    files: list[Plannable], shares: tuple[float, float], seed: int
) -> None:
    small, large = (taken(files, Sample.of_share(Sampling(share=share, seed=seed))) for share in sorted(shares))
    assert units(small) <= units(large)
    order = [(span.url, span.start) for span in large]
    assert order == sorted(order)
    everything = taken(files, Sample.of_share(Sampling(share=1.0, seed=seed)))
    assert sum(span.bytes for span in everything) == sum(file.size for file in files)


@settings(max_examples=60)
@given(files=FILES, limits=st.tuples(st.integers(1, 200 * PIECE), st.integers(1, 200 * PIECE)), seed=st.integers())
def test_a_limit_is_kept_and_a_larger_one_contains_the_smaller(
    files: list[Plannable], limits: tuple[int, int], seed: int
) -> None:
    every = Sample.of_share(Sampling(seed=seed))
    small, large = (taken(files, every.within(limit, tickets(files, JOB, seed))) for limit in sorted(limits))
    assert sum(span.bytes for span in small) <= min(limits)
    assert sum(span.bytes for span in large) <= max(limits)
    assert units(small) <= units(large)
    # and no more could be had without passing over a lower ticket
    left = sorted((drawn, size) for drawn, size in tickets(files, JOB, seed))
    total = 0
    for _, size in left:
        if total + size > max(limits):
            break
        total += size
    assert sum(span.bytes for span in large) == total


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_a_share_is_about_what_was_asked_for_and_spread_over_the_files(share: float) -> None:
    files = [Plannable(f"/c/{i:03d}.jsonl", 100 * PIECE, "m", name=f"{i:03d}") for i in range(100)]
    found = [taken(files, Sample.of_share(Sampling(share=share, seed=seed))) for seed in range(3)]
    for spans in found:
        got = sum(span.bytes for span in spans) / (10_000 * PIECE)
        assert abs(got - share) < 5 * (share * (1 - share) / 10_000) ** 0.5  # five standard deviations
    assert units(found[0]) != units(found[1])
    assert len({span.url for span in found[0]}) > 50


def test_the_choice_is_the_same_on_every_machine_and_wherever_the_corpus_lies() -> None:
    """Fixed by its numbers: a change of the hash would change what an old command line means."""
    here, there = (
        [Plannable(f"{folder}/{name}", 9 * PIECE + 1, mark, name=name) for name in ("a.jsonl", "b.jsonl")]
        for folder, mark in (("/c", "1"), ("s3://bucket/deep", "2"))
    )
    sample = Sample.of_share(Sampling(share=0.3, seed=7))
    chosen = [(span.url.rpartition("/")[2], span.start // PIECE, span.stop) for span in taken(here, sample)]
    assert chosen == [(span.url.rpartition("/")[2], span.start // PIECE, span.stop) for span in taken(there, sample)]
    assert sorted(units(taken(here, sample))) == [
        ("/c/a.jsonl", 0),
        ("/c/a.jsonl", 9),
        ("/c/b.jsonl", 0),
        ("/c/b.jsonl", 1),
        ("/c/b.jsonl", 5),
        ("/c/b.jsonl", 8),
    ]
