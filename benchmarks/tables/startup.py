"""What it takes to begin."""

from results import median

from tables.markdown import Run, places, table


def startup(results: dict[str, Run]) -> list[str]:
    """Every start with every tokenizer."""
    number = max(len(rounds) for run in results.values() for rounds in run["rounds"].values())
    lines = [f"**Start-up**, 2 workers, private broker, medians of {number}. {places(results)}", ""]
    rows = [
        [f"{start} ({name})", f"{median(rounds, 'wall'):.2f}", f"{median(rounds, 'cpu'):.2f}"]
        for name, run in results.items()
        for start, rounds in run["rounds"].items()
    ]
    return lines + table(["", "wall s", "CPU s"], rows)
