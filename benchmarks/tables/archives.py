"""One large file, with and without frames to begin at."""

from results import median

from tables.markdown import Run, table, where


def archives(results: dict[str, Run]) -> list[str]:
    """One large file, by how it can be begun in its middle."""
    lines: list[str] = []
    for name, run in results.items():
        lines += [
            f"**One large archive**, {run['text_bytes'] / 1e6:,.0f} MB of text in one file, 2 workers, {name}, medians of "
            f"{len(run['rounds']['.jsonl'])} interleaved rounds. {where(run)}",
            "",
        ]
        rows = [
            [
                shape,
                f"{rounds[0]['stored'] / 1e6:,.0f}",
                str(rounds[0]["batches"]),
                f"{median(rounds, 'wall'):.1f}",
                f"{median(rounds, 'cpu'):.1f}",
            ]
            for shape, rounds in run["rounds"].items()
        ]
        lines += [*table(["", "stored MB", "batches", "wall s", "CPU s"], rows), ""]
    return lines[:-1]
