"""An archive cut at its frames gives the documents of the whole file, wherever it is cut, and says when it cannot be."""

import gzip
import struct
import zlib
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from producer.plan import Plannable, plan
from tests.unit.test_plan import spec
from tokenmill.documents import compression, frames
from tokenmill.documents.records import stretches
from tokenmill.errors import BatchError
from tokenmill.job import Cut, Span

CONTENT = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\n", b"<>", b"<", b">", b"\xc3\xa9", b"long" * 9])).map(b"".join)
SKIPPED = struct.pack("<II", 0x184D2A53, 5) + b"hello"


def zstd(parts: list[bytes], **options: bool) -> list[bytes]:
    return [zstandard.ZstdCompressor(**{"write_content_size": True, **options}).compress(part) for part in parts]


def seek_table(packed: list[bytes], parts: list[bytes]) -> bytes:
    """As contrib/seekable_format of zstd writes it, without checksums."""
    entries = b"".join(struct.pack("<II", len(a), len(b)) for a, b in zip(packed, parts, strict=True))
    end = struct.pack("<IBI", len(packed), 0, 0x8F92EAB1)
    return struct.pack("<II", 0x184D2A5E, len(entries) + len(end)) + entries + end


def bgzf(part: bytes) -> bytes:
    """One block as `bgzip` writes it."""
    deflate = zlib.compressobj(wbits=-15)
    data = deflate.compress(part) + deflate.flush()
    head = struct.pack("<4sIBBHHHH", b"\x1f\x8b\x08\x04", 0, 0, 255, 6, 0x4342, 2, len(data) + 25)
    return head + data + struct.pack("<II", zlib.crc32(part), len(part))


def gzi(packed: list[bytes], parts: list[bytes]) -> bytes:
    """As `bgzip -i` leaves it: where every block but the first begins."""
    begins = list(zip(accumulate(map(len, packed[:-1])), accumulate(map(len, parts[:-1])), strict=True))
    return struct.pack("<Q", len(begins)) + b"".join(struct.pack("<QQ", *begin) for begin in begins)


def stored(path: Path, parts: list[bytes], *, table: bool) -> Path:
    """An archive of one frame a part, with skippable ones between if it is .zst."""
    if path.suffix == ".gz":
        packed = [*map(bgzf, parts), bgzf(b"")]
        path.write_bytes(b"".join(packed))
        index = path.with_name(f"{path.name}.gzi")
        index.unlink(missing_ok=True)
        if table:
            index.write_bytes(gzi(packed, [*parts, b""]))
        return path
    packed = zstd(parts)
    if not table:
        packed = [SKIPPED * (i % 3 == 0) + frame for i, frame in enumerate(packed)]
    path.write_bytes(b"".join(packed) + (seek_table(packed, parts) if table else b""))
    return path


def planned(path: Path, batch_bytes: int, *, near: bool = True, shuffle: int | None = None) -> list[Span]:
    size = path.stat().st_size
    file = Plannable(str(path), size, "m", frames=frames(str(path), size, near=near))
    asked = spec(batch_bytes, "<>").model_copy(update={"shuffle": shuffle})
    return [span for batch in plan([file], asked) for span in batch.spans]


def whole(path: Path) -> Span:
    return Span(url=str(path), cut=Cut.WHOLE, start=0, stop=0, bytes=path.stat().st_size, size=0, mark="")


def records(span: Span, separator: bytes) -> list[tuple[int, bytes, bool]]:
    found = (r for stretch in stretches(span, separator, 100) for r in stretch.records(separator, 100))
    return [(r.position, r.data[:100], r.too_long) for r in found]


@pytest.mark.parametrize("block", [3, 1 << 19])
@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize("name", ["a.jsonl.zst", "a.txt.zst", "a.jsonl.gz", "a.txt.gz"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(data=st.data())
def test_the_records_of_all_spans_are_those_of_the_file_and_stand_where_they_stand_in_it(
    data: st.DataObject, name: str, table: bool, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "BLOCK", block)
    content = data.draw(CONTENT)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), min_size=1, max_size=8)))
    path = stored(tmp_path / name, [content[a:b] for a, b in pairwise([0, *cuts, len(content)])], table=table)
    shuffle = data.draw(st.none() | st.integers(0, 99))
    spans = sorted(planned(path, data.draw(st.integers(1, 200)), near=not table, shuffle=shuffle), key=lambda span: span.start)
    assert sum(span.bytes for span in spans) == path.stat().st_size
    separator = b"\n" if "jsonl" in name else b"<>"
    assert [record for span in spans for record in records(span, separator)] == records(whole(path), separator)


def test_every_frame_can_be_a_span_of_its_own(tmp_path: Path) -> None:
    """The law above would hold, too, if nothing were ever cut."""
    parts = [b"a\nb", b"", b"\n", b"cc\nd\n"]
    for name in ("a.jsonl.zst", "a.jsonl.gz"):
        for table in (True, False):
            spans = planned(stored(tmp_path / name, parts, table=table), 1, near=not table)
            assert [(s.plain_start, s.plain_stop) for s in spans][:4] == [(0, 3), (3, 3), (3, 4), (4, 9)]
            found = [[text for _, text, _ in records(span, b"\n")] for span in spans]
            assert found[:4] == [[b"a", b"b"], [], [b"cc"], [b"d"]]


@pytest.mark.parametrize(
    "content",
    [
        zstd([b"a\n" * 99])[0],  # one frame
        b"".join(zstd([b"a\n" * 9, b"b\n"], write_content_size=False)),
        b"".join(zstd([b"a\n" * 9, b"b\n"]))[:-1],
        b"".join(zstd([b"a\n" * 9, b"b\n"])) + b"rest",
        SKIPPED + zstd([b"a\n" * 99])[0] + SKIPPED,
        SKIPPED,
        b"",
    ],
)
def test_an_archive_that_does_not_tell_its_frames_is_read_whole(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(content)
    assert [span.cut for span in planned(path, 1)] == [Cut.WHOLE]


def test_a_gz_file_of_plain_members_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"a\n") + gzip.compress(b"b\n"))
    assert [span.cut for span in planned(path, 1)] == [Cut.WHOLE]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(
    place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255), table=st.booleans(), name=st.sampled_from(["zst", "gz"])
)
def test_one_wrong_byte_is_found_or_changes_nothing(place: float, flip: int, table: bool, name: str, tmp_path: Path) -> None:
    """Wherever it is: in a header, a table, an index. Never is a document lost or invented quietly."""
    content = b"".join(b"record %d\n" % i for i in range(100))
    parts = [content[i : i + 190] for i in range(0, len(content), 190)]
    path = tmp_path / f"a.jsonl.{name}"
    stored(path, parts, table=table)
    if name == "zst":
        packed = zstd(parts, write_checksum=True)
        path.write_bytes(b"".join(packed) + (seek_table(packed, parts) if table else b""))
    hit = path.with_name("a.jsonl.gz.gzi") if name == "gz" and table else path
    damaged = bytearray(hit.read_bytes())
    damaged[int(place * len(damaged))] ^= flip
    hit.write_bytes(damaged)
    try:
        found = [record for span in planned(path, 1) for record in records(span, b"\n")]
    except BatchError:
        return
    assert [text for _, text, _ in found] == content.split(b"\n")[:-1]
    assert [at for at, _, _ in found] == [at for at, _, _ in records(whole(path), b"\n")]


@pytest.mark.parametrize(("says", "found"), [(19, "less"), (3, "more")])
def test_a_table_that_lies_about_what_is_in_a_frame_parks_the_batch(says: int, found: str, tmp_path: Path) -> None:
    """Had it less in it than it has, nobody else would read the rest."""
    parts = [b"a\n" * 9, b"b\n" * 9]
    packed, path = zstd(parts), tmp_path / "a.jsonl.zst"
    path.write_bytes(b"".join(packed) + seek_table(packed, [b"?" * says, parts[1]]))
    first, _ = planned(path, 1)
    with pytest.raises(BatchError, match=f"unpack to {found} than the {says} bytes"):
        records(first, b"\n")
