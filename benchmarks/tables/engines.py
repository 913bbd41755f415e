"""The engines beside each other."""

from results import median

from tables.markdown import Run, places, table


def engines(results: dict[str, Run]) -> list[str]:
    """One table of all tokenizers and engines."""
    size = max(one["text_bytes"] for run in results.values() for rounds in run["rounds"].values() for one in rounds)
    numbers = {len(rounds) for run in results.values() for rounds in run["rounds"].values()}
    number = " or ".join(map(str, sorted(numbers)))
    lines = [
        f"**Engines**, one thread, {size / 1e6:.1f} MB of the same text from Arrow columns, medians of {number}; cold is the "
        f"first pass in a fresh process, warm the second over the same text. {places(results)}",
        "",
    ]
    rows: list[list[str]] = []
    for name, run in results.items():
        reference = run["rounds"].get("reference")
        for engine, rounds in run["rounds"].items():
            cold, warm = (median(rounds, "text_bytes") / 1e6 / median(rounds, kind) for kind in ("cold", "warm"))
            slow = median(reference, "text_bytes") / 1e6 / median(reference, "cold") if reference else None
            same = "" if not reference else "yes" if rounds[0]["ids"] == reference[0]["ids"] else "no"
            memory = f"{(median(rounds, 'peak_rss') - median(rounds, 'rss_before')) / 1e6:,.0f}"
            ratio = f"{cold / slow:.1f}" if slow else ""
            rows.append(
                [f"{name}, {engine}", f"{cold:.1f}", f"{warm:.1f}", ratio, f"{median(rounds, 'load'):.2f}", memory, same]
            )
    head = ["", "cold MB/CPU-s", "warm", "cold ÷ reference", "load CPU s", "memory added MB", "ids of the reference"]
    return lines + table(head, rows)
