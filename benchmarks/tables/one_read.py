"""Two outputs of one read against two jobs."""

from one_read import APART, TOGETHER
from results import median

from tables.markdown import Run, table, where


def one_read(results: dict[str, Run]) -> list[str]:
    """What one read for several outputs saves."""
    lines: list[str] = []
    for name, run in results.items():
        count = len(next(iter(run["rounds"].values()))[TOGETHER])
        lines += [
            f"**One read, two outputs**, {run['text_bytes'] / 1e6:,.0f} MB of text, {name}, 2 workers, medians of {count} "
            f"interleaved rounds. {where(run)}",
            "",
        ]
        rows = []
        for corpus, ways in run["rounds"].items():
            wall, cpu = ({way: median(turns, field) for way, turns in ways.items()} for field in ("wall", "cpu"))
            costs = [f"{cost[way]:.1f}" for cost in (wall, cpu) for way in (TOGETHER, APART)]
            rows.append([corpus, *costs, f"{cpu[TOGETHER] / cpu[APART]:.2f}"])
        heads = [f"{what}, {way}" for what in ("wall s", "CPU s") for way in (TOGETHER, APART)]
        lines += [*table(["", *heads, "CPU, ratio"], rows), ""]
    return lines[:-1]
