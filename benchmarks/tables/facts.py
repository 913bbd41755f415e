"""The tables of `facts.py` and `facts_alone.py`, for `render.py`."""

from statistics import median as middle
from typing import Any

from facts import NONE
from results import median

from tables.markdown import table, where


def facts(results: dict[str, dict[str, Any]]) -> list[str]:
    """What each fact about the ids costs, against the same job without facts."""
    lines: list[str] = []
    for name, run in results.items():
        plain = median(run["rounds"][NONE], "cpu")
        rows = []
        for way, rounds in run["rounds"].items():
            cpu, size = median(rounds, "cpu"), rounds[0]["facts_bytes"]
            rows.append([way, f"{cpu:.1f}", f"{cpu / plain:.2f}", f"{size / run['text_bytes']:.4f}"])
        lines += [
            f"**Facts about the ids**, {run['text_bytes'] / 1e6:,.0f} MB of text, {run['documents']:,} documents, {name}, "
            f"2 workers, medians of {len(run['rounds'][NONE])} interleaved rounds of whole jobs, with their start and the "
            f"reading of the test set; meanwhile: {run['load']}. {where(run)}",
            "",
            *table(["", "CPU s", "÷ no facts", "bytes in facts/ per byte of text"], rows),
            "",
        ]
    return lines[:-1]


def facts_alone(results: dict[str, dict[str, Any]]) -> list[str]:
    """What their own code costs, on documents as they are and on very short ones."""
    lines: list[str] = []
    for name, run in results.items():
        kinds = run["rounds"]
        rows = [
            [fact, *(f"{middle(kinds[kind][fact]) / run['text_bytes'] * 1e9:.1f}" for kind in kinds)]
            for fact in next(iter(kinds.values()))
        ]
        mean = run["tokens"] / run["documents"]
        lines += [
            f"**Each fact by itself**, thread CPU seconds per GB of text, {run['text_bytes'] / 1e6:,.0f} MB, {name}, medians "
            f"of {len(next(iter(next(iter(kinds.values())).values())))}; {run['runs']:,} runs in the test set. "
            f"128 permutations is the usual MinHash, over the same shingles, whose signatures are not written. {where(run)}",
            "",
            *table(["", f"documents of {mean:,.0f} ids on average", *(kind for kind in list(kinds)[1:])], rows),
            "",
        ]
    return lines[:-1]
