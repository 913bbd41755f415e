"""Megatron-LM's bytes, computed by hand, and beyond 32 bits."""

from pathlib import Path

import numpy as np
import pytest

from tokenmill.errors import JobError
from tokenmill.shards.megatron import FORMAT, MegatronReader, MegatronWriter, index


def write(output: Path, documents: list[list[int]], dtype: str) -> None:
    with MegatronWriter(str(output), 7, dtype) as writer:
        for start in range(0, len(documents), 2):  # several appends, as the pipeline does
            some = documents[start : start + 2]
            writer.append(np.array([i for d in some for i in d], np.uint32), np.array([len(d) for d in some], np.int64))
        writer.publish()


def test_two_documents_by_hand(tmp_path: Path) -> None:
    """[5, 6, 65499] and [7] as uint16: 3 and 1 tokens, the second at byte 6."""
    write(tmp_path, [[5, 6, 65499], [7]], "uint16")
    assert (tmp_path / "shards/000007.bin").read_bytes() == bytes.fromhex("0500 0600 dbff 0700")
    expected = (
        "4d4d49444944580000"  # MMIDIDX\0\0
        "0100000000000000"  # version 1
        "08"  # uint16
        "0200000000000000"  # 2 sequences
        "0300000000000000"  # 3 document ends
        "03000000 01000000"  # lengths
        "0000000000000000 0600000000000000"  # pointers
        "0000000000000000 0100000000000000 0200000000000000"  # documents
    )
    assert (tmp_path / "shards/000007.idx").read_bytes() == bytes.fromhex(expected)


@pytest.mark.parametrize("documents", [[], [[]], [[1]], [[], [3], []], [list(range(70_000))], [[0, 65_535, 65_536, 2**31 - 1]]])
def test_what_is_written_is_read(tmp_path: Path, documents: list[list[int]]) -> None:
    write(tmp_path, documents, "int32")
    reader = MegatronReader(str(tmp_path), 7)
    assert [reader[i].tolist() for i in range(len(reader))] == documents


def test_pointers_do_not_overflow_32_bits() -> None:
    """Four documents of 1.2 billion tokens; Megatron-LM #1672 and NeMo Curator wrapped to negative here."""
    lengths = np.full(4, 1_200_000_000, np.int32)
    data = index(lengths, np.dtype("<u2"))
    pointers = np.frombuffer(data, "<i8", 4, 34 + 16)
    assert pointers.tolist() == [0, 2_400_000_000, 4_800_000_000, 7_200_000_000]


def test_an_id_that_does_not_fit_stops_the_job(tmp_path: Path) -> None:
    with MegatronWriter(str(tmp_path), 0, "uint16") as writer, pytest.raises(JobError, match="65536 does not fit"):
        writer.append(np.array([65536], np.uint32), np.array([1], np.int64))
    assert list((tmp_path / "shards").iterdir()) == []


def test_megatrons_own_dtype_rule() -> None:
    assert [FORMAT.dtype_for(n) for n in (50_257, 65_499, 65_500, 151_669)] == ["uint16", "uint16", "int32", "int32"]


@pytest.mark.parametrize("damage", ["cut bin", "no bin", "cut idx", "other version", "no magic"])
def test_a_damaged_shard_is_refused_at_open(tmp_path: Path, damage: str) -> None:
    write(tmp_path, [[1, 2, 3], [4]], "int32")
    bin_path, idx_path = tmp_path / "shards/000007.bin", tmp_path / "shards/000007.idx"
    data = idx_path.read_bytes()
    match damage:
        case "cut bin":
            bin_path.write_bytes(bin_path.read_bytes()[:-1])
        case "no bin":
            bin_path.unlink()
        case "cut idx":
            idx_path.write_bytes(data[:-1])
        case "other version":
            idx_path.write_bytes(data[:9] + b"\x02" + data[10:])
        case "no magic":
            idx_path.write_bytes(b"X" + data[1:])
    with pytest.raises(JobError, match="tokenmill verify"):
        MegatronReader(str(tmp_path), 7)
