"""Where the CPU time of a batch goes."""

import statistics

from tables.markdown import Run, places, table


def stages(results: dict[str, Run]) -> list[str]:
    """Where the CPU time of a batch goes, beside the bare loop."""
    names = list(dict.fromkeys(stage for run in results.values() for one in run["rounds"] for stage in one["cpu_s"]))
    work = [stage for stage in names if stage != "bare loop"]
    spent = {name: {stage: _a_gigabyte(run["rounds"], [stage]) for stage in names} for name, run in results.items()}
    rows = [[stage, *(f"{spent[name][stage]:.2f}" for name in results)] for stage in work]
    rows.append(["all of it", *(f"{_a_gigabyte(run['rounds'], work):.2f}" for run in results.values())])
    rows.append(["the engine's bare loop over the same columns", *(f"{spent[name]['bare loop']:.2f}" for name in results)])
    engines = ", ".join(dict.fromkeys(run["engine"] for run in results.values()))
    count = len(next(iter(results.values()))["rounds"])
    return [
        f"**Where the time of a batch goes**, thread CPU seconds per GB of text, JSON Lines in, `.bin`/`.idx` out, {engines}, "
        f"in one process, medians of {count} rounds over the same text. {places(results)}",
        "",
        *table(["", *results], rows),
    ]


def _a_gigabyte(rounds: list[Run], stages: list[str]) -> float:
    return statistics.median(sum(one["cpu_s"][stage] for stage in stages) / one["text_bytes"] * 1e9 for one in rounds)
