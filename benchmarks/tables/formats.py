"""The shard formats: writing and reading."""

from results import median

from tables.markdown import Run, places, table


def formats(results: dict[str, Run]) -> list[str]:
    """One table of all vocabularies and shard formats."""
    size = min(one["tokens"] for run in results.values() for rounds in run["rounds"].values() for one in rounds)
    number = min(len(rounds) for run in results.values() for rounds in run["rounds"].values())
    lines = [
        f"**Formats**, one process, {size / 1e6:.0f} million real ids to this disk and back, medians of {number} interleaved "
        f"rounds. Open: until the lengths of all documents are known. {places(results)}",
        "",
    ]
    rows: list[list[str]] = []
    for name, run in results.items():
        base = median(run["rounds"]["megatron"], "write")
        for form, rounds in run["rounds"].items():
            first, write = rounds[0], median(rounds, "write")
            rows.append(
                [
                    f"{name}, {form}, {first['dtype']}",
                    f"{first['tokens'] / write / 1e6:.0f}",
                    f"{write / base:.2f}",
                    f"{1000 * median(rounds, 'open'):.0f}",
                    f"{first['tokens'] / median(rounds, 'read') / 1e6:,.0f}",
                    f"{first['bytes'] / first['tokens']:.2f}",
                    f"{median(rounds, 'added') / 1e6:.0f}",
                ]
            )
    speeds = ["M tokens written/CPU-s", "CPU ÷ megatron", "open, CPU ms", "M tokens read/CPU-s"]
    return lines + table(["", *speeds, "bytes a token", "memory added MB"], rows)
