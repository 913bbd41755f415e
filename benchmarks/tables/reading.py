"""The readers of token shards."""

from reading import READERS
from results import median

from tables.markdown import Run, table, where


def reading(results: dict[str, Run]) -> list[str]:
    """Every reader of token shards, and the bar."""
    lines: list[str] = []
    for name, run in results.items():
        medians = {reader: _reading(modes) for reader, modes in run["rounds"].items()}
        others = [values for reader, values in medians.items() if reader != "tokenmill"]
        ratios = (f"{medians['tokenmill'][mode] / max(one[mode] for one in others):.1f}" for mode in ("sequential", "shuffled"))
        number = len(run["rounds"]["tokenmill"]["sequential"])
        lines += [
            f"**Readers**, {name} of 32 bits in rows of 2,048, batches of 32 rows through a DataLoader without workers, "
            f"medians of {number} interleaved rounds; meanwhile: {run['load']}. tokenmill ÷ the fastest other: {next(ratios)} "
            f"sequential, {next(ratios)} shuffled. Open is from the call to the first batch; memory is a process's peak, in "
            f"which the pages of mapped files count. {where(run, run['peers'])}",
            "",
        ]
        rows = [
            [
                READERS[reader],
                *(f"{values[mode] / 1e6:,.0f}" for mode in ("sequential", "shuffled")),
                f"{values['random']:.0f}",
                f"{values['open'] * 1e3:.0f}",
                f"{values['memory'] / 1e6:,.0f}",
            ]
            for reader, values in medians.items()
        ]
        head = ["", "sequential, million tokens/s", "shuffled", "a row at random, µs", "open, ms", "memory MB"]
        lines += [*table(head, rows), ""]
    return lines[:-1]


def _reading(modes: dict[str, list[Run]]) -> dict[str, float]:
    said = {mode: [one["said"] for one in rounds] for mode, rounds in modes.items()}
    return {
        "sequential": median(said["sequential"], "rate"),
        "shuffled": median(said["shuffled"], "rate"),
        "random": median(said["random"], "microseconds"),
        "open": median(said["sequential"], "open"),
        "memory": median(modes["shuffled"], "peak_rss"),
    }
