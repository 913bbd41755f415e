"""The page of `tokenmill plan`: the figures of a forecast as JSON, or as a table that fits 80 columns.

Comes in: a spec, its corpus and forecast, and a pilot where one was made. Goes out: text on stdout. Always holds: what was
measured and what was reckoned from it are told apart.
"""

import json
from collections.abc import Iterator
from typing import Any

from producer import bytesize, display
from producer.corpus import Corpus
from producer.forecast import Forecast, Pilot
from tokenmill.job import EngineChoice
from tokenmill.spec import JobSpec

LABEL, WIDTH = 21, 80


def figures(spec: JobSpec, corpus: Corpus, job: Forecast, tokenizer_sha256: str) -> dict[str, Any]:
    """All that a plan says but the time."""
    return {
        "files": len(corpus.files),
        "kinds": {name: {"files": kind.files, "bytes": kind.bytes, "uncut": kind.uncut} for name, kind in job.kinds.items()},
        "uncut_files": sum(kind.uncut for kind in job.kinds.values()),
        "passed_over": dict(corpus.passed_over),
        "left_out": corpus.left_out,
        "corpus_bytes": corpus.bytes,
        "sample": None if spec.sample is None else spec.sample.model_dump(),
        "bytes": job.bytes,
        "batches": job.batches,
        "batch_bytes_mean": round(job.mean),
        "batch_bytes_largest": job.largest.bytes,
        "skew": round(job.skew, 3),
        "largest_batch": {"index": job.largest.index, "bytes": job.largest.bytes, "why": job.why_largest()},
        "tokenizer_sha256": tokenizer_sha256,
        "eos_token": spec.eos_token,
        "bos_token": spec.bos_token,
        "dtype": spec.dtype,
        "estimate": None,
    }


def estimate(job: Forecast, tried: Pilot | None, engine: EngineChoice, workers: int) -> dict[str, Any] | None:
    """What a pilot makes one expect; None if it could read nothing."""
    if tried is None:
        return None
    return {
        "seconds": round(tried.expects(job, workers), 1),
        "workers": workers,
        "bytes_per_second_and_worker": round(tried.rate),
        "engine": engine.name,
        "pilot_bytes": tried.bytes,
        "pilot_seconds": round(tried.seconds, 3),
    }


def show(found: dict[str, Any], *, as_json: bool) -> None:
    """Print the figures."""
    print(json.dumps(found, indent=2, ensure_ascii=False) if as_json else "\n".join(_lines(found)))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield _line("files", f"{found['files']:,}, {bytesize.written(found['corpus_bytes'])}")
    for name, kind in found["kinds"].items():
        uncut = f", {kind['uncut']:,} cannot be cut" if kind["uncut"] else ""
        yield _line(f"  {name}"[: LABEL - 1], f"{kind['files']:,}, {bytesize.written(kind['bytes'])}{uncut}")
    if found["passed_over"]:
        kinds = sorted(found["passed_over"].items(), key=lambda kind: -kind[1])[:4]
        yield _line("passed over", ", ".join(f"{count:,} {suffix[:12]}" for suffix, count in kinds))
    if found["left_out"]:
        yield _line("left out", f"{found['left_out']:,} files by --include and --exclude")
    if found["sample"] is not None:
        share = found["bytes"] / found["corpus_bytes"] if found["corpus_bytes"] else 0
        yield _line("sample", f"{bytesize.written(found['bytes'])}, {share:.2%} of the bytes, seed {found['sample']['seed']}")
    yield _line("batches", f"{found['batches']:,}, {bytesize.written(found['batch_bytes_mean'])} each on average")
    largest = found["largest_batch"]
    yield _line(
        "largest",
        f"{bytesize.written(largest['bytes'])} (number {largest['index']:06d}), {found['skew']:.2f} times the average:",
    )
    yield _line("", largest["why"])
    yield _line("tokenizer", f"sha256 {found['tokenizer_sha256'][:12]}…, {found['dtype']}")
    yield _line("BOS, EOS", f"{found['bos_token'] or 'none'}, {found['eos_token'] or 'none'}")
    if found["estimate"] is not None:
        expected = found["estimate"]
        rate = bytesize.written(expected["bytes_per_second_and_worker"])
        many = f"{expected['workers']:,} worker{'s' if expected['workers'] > 1 else ''}"
        yield _line("time", f"about {display.duration(expected['seconds'])} with {many} as fast as this host's,")
        yield _line("", f"start-up and writing not counted: a pilot of {bytesize.written(expected['pilot_bytes'])}")
        yield _line("", f"read and encoded {rate} a second here ({expected['engine']})")


def _line(label: str, text: str) -> str:
    """One line, of a long one the beginning and the end."""
    room = WIDTH - LABEL
    if len(text) > room:
        text = f"{text[: room // 2]}…{text[-(room - room // 2 - 1) :]}"
    return f"{label:{LABEL}}{text}"
