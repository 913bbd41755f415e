"""What all tables share: rows of Markdown, and the words for where a figure was measured."""

from typing import Any

#: One run as a results file has it.
Run = dict[str, Any]


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table; all columns but the first are numbers."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def where(run: Run, extra: dict[str, dict[str, str]] | None = None) -> str:
    """A table's machine, date and versions."""
    versions = {**run["versions"]}
    for pins in (extra or {}).values():
        versions.update(pins)
    named = ", ".join(f"{name} {number}" for name, number in versions.items() if name != "tokenmill")
    return (
        f"{run['hardware']}; {run['date']}; Python {run['python']}; "
        f"tokenmill {run['versions']['tokenmill']} ({run['commit']}), {named}."
    )


def places(results: dict[str, Run]) -> str:
    """Machine, date and versions of several runs; said once where they are the same."""
    runs: dict[str, list[str]] = {}
    for name, run in results.items():
        runs.setdefault(where(run), []).append(name)
    return next(iter(runs)) if len(runs) == 1 else " ".join(f"{', '.join(names)}: {place}" for place, names in runs.items())
