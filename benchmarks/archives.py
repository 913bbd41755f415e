"""What one large archive costs, by how it can be begun in its middle: the same text in one file, in five shapes.

    python benchmarks/archives.py --source DIR --tokenizer FILE [--repeat N] [--rounds K]

Comes in: a folder of JSON Lines. Goes out: `results/archives.json`, wall and CPU seconds of whole process trees, every round.
Always holds: two workers and a private broker, as `tokenmill run` starts them; the shapes take turns; the ids of all are the
same number; packing is not timed.
"""

import argparse
import json
import shutil
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zstandard
from corpus import survey
from measure import as_json, measure
from results import FOLDER, keep, setting
from tokenizer import as_file

TOKENMILL = str(Path(sys.executable).with_name("tokenmill"))
#: Bytes of text in a zstd frame, as `zstd --adapt`'s users and t2sz choose them; in a BGZF block, as `bgzip` does.
FRAME, BLOCK = 8 << 20, 0xFF00
#: A gzip header whose extra field is BGZF's (SAM specification, 4.1); the length of the block is the last field.
BGZF = struct.Struct("<4sIBBHHHH")


def plain(text: Path, made: Path) -> None:
    """The file itself."""
    made.hardlink_to(text)


def one_frame(text: Path, made: Path) -> None:
    """As `zstd` makes it."""
    with text.open("rb") as source, made.open("wb") as packed:
        zstandard.ZstdCompressor(level=3).copy_stream(source, packed, size=text.stat().st_size)


def frames(text: Path, made: Path) -> None:
    """A frame of its own for every 8 MiB."""
    with made.open("wb") as packed:
        for block in _blocks(text, FRAME):
            packed.write(zstandard.ZstdCompressor(level=3).compress(block))


def one_member(text: Path, made: Path) -> None:
    """As `gzip` makes it."""
    packer = zlib.compressobj(6, wbits=31)
    with made.open("wb") as packed:
        for block in _blocks(text, FRAME):
            packed.write(packer.compress(block))
        packed.write(packer.flush())


def blocks(text: Path, made: Path) -> None:
    """As `bgzip` makes it."""
    with made.open("wb") as packed:
        for block in [*_blocks(text, BLOCK), b""]:
            packer = zlib.compressobj(6, wbits=-15)
            body = packer.compress(block) + packer.flush()
            packed.write(BGZF.pack(b"\x1f\x8b\x08\x04", 0, 0, 255, 6, 0x4342, 2, BGZF.size + len(body) + 7))
            packed.write(body + struct.pack("<II", zlib.crc32(block), len(block)))


SHAPES: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    ".jsonl": ("corpus.jsonl", plain),
    ".zst, one frame": ("corpus.jsonl.zst", one_frame),
    ".zst, a frame every 8 MiB": ("corpus.jsonl.zst", frames),
    ".gz, one member": ("corpus.jsonl.gz", one_member),
    ".gz by bgzip": ("corpus.jsonl.gz", blocks),
}


def _blocks(text: Path, size: int) -> Iterator[bytes]:
    with text.open("rb") as source:
        while block := source.read(size):
            yield block


def main() -> None:
    """Parse the command line, pack, measure, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder of .jsonl files with a text field")
    parser.add_argument("--tokenizer", type=Path, required=True, help="a tokenizer.json, or a folder")
    parser.add_argument("--repeat", type=int, default=6, help="copies of the corpus in the one file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--eos", default="<|endoftext|>", help="the token after each document")
    parser.add_argument("--scratch", type=Path, help="folder for archives and outputs")
    parser.add_argument("--results", type=Path, default=FOLDER / "archives.json")
    arguments = parser.parse_args()
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in SHAPES}
    source = survey(arguments.source.resolve())
    with tempfile.TemporaryDirectory(prefix="tokenmill-benchmark-", dir=arguments.scratch) as folder:
        scratch = Path(folder)
        name, tokenizer = as_file(arguments.tokenizer, scratch / "tokenizer")
        text = scratch / "corpus.jsonl"
        with text.open("wb") as whole:
            for path in sorted(arguments.source.glob("*.jsonl")) * arguments.repeat:
                with path.open("rb") as part:
                    shutil.copyfileobj(part, whole)
        stored = {}
        for number, (shape, (file, pack)) in enumerate(SHAPES.items()):
            made = scratch / str(number) / file
            made.parent.mkdir()
            pack(text, made)
            stored[shape] = made
        environment = {"TOKENMILL_CACHE": str(scratch / "cache"), "TOKENMILL_BROKER": ""}
        output, tokens = scratch / "output", set[int]()
        for _ in range(arguments.rounds):
            for shape, file in stored.items():
                job = [TOKENMILL, "run", str(file), "--tokenizer", str(tokenizer), "--eos-token", arguments.eos]
                turn = as_json(
                    measure([*job, "--no-bos-token", "--workers", "2", "--output", str(output)], output, environment)
                )
                manifest = json.loads((output / "manifest.json").read_text())
                shutil.rmtree(output)
                tokens.add(manifest["tokens"])
                rounds[shape].append({**turn, "batches": len(manifest["shards"]), "stored": file.stat().st_size})
                print(f"{shape:28} {turn['wall']:6.1f} s {turn['cpu']:6.1f} CPU s", file=sys.stderr)
    if len(tokens) != 1:
        raise SystemExit(f"the shapes have different numbers of tokens: {sorted(tokens)}")
    size = source.text_bytes * arguments.repeat
    keep(arguments.results, name, {**setting(), "text_bytes": size, "rounds": rounds})


if __name__ == "__main__":
    main()
