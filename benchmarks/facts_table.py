"""The table of `facts.py`, for `render.py`."""

from typing import Any

from facts import NONE
from results import median


def facts(results: dict[str, dict[str, Any]]) -> list[str]:
    """What each fact about the ids costs, against the same job without facts."""
    from render import table, where  # it imports this file

    lines: list[str] = []
    for name, run in results.items():
        plain = median(run["rounds"][NONE], "cpu")
        rows = []
        for way, rounds in run["rounds"].items():
            cpu, size = median(rounds, "cpu"), rounds[0]["facts_bytes"]
            more = (cpu - plain) / run["text_bytes"] * 1e9
            rows.append([way, f"{cpu:.1f}", f"{cpu / plain:.2f}", f"{more:.1f}", f"{size / run['text_bytes']:.4f}"])
        lines += [
            f"**Facts about the ids**, {run['text_bytes'] / 1e6:,.0f} MB of text, {run['documents']:,} documents, {name}, "
            f"2 workers, medians of {len(run['rounds'][NONE])} interleaved rounds of whole jobs. {where(run)}",
            "",
            *table(["", "CPU s", "÷ no facts", "more CPU s per GB", "bytes in facts/ per byte of text"], rows),
            "",
        ]
    return lines[:-1]
