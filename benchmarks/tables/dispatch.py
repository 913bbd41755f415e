"""The producer with a million batches."""

from tables.markdown import Run, table, where


def dispatch(results: dict[str, Run]) -> list[str]:
    """What the producer needs for jobs of very many batches."""
    return [line for name, run in results.items() for line in _dispatch(name, run)]


def _dispatch(name: str, run: Run) -> list[str]:
    plan, sent, seal = run["plan"], run["dispatch"], run["dispatch"]["sealing"]
    done, workers = sent["done_before"], run["workers_stood_in_for"]
    lines = [
        f"**A job of {name}**, {done:,} of them done before; {workers} workers stood in for, which take messages and write "
        f"entries but encode nothing. {where(run)}",
        "",
    ]
    rows = [
        [
            "planning",
            f"{plan['wall_s']:.1f}",
            f"{plan['peak_rss_mb']:.0f}",
            f"plan of {plan['plan_parquet_bytes'] / 1e6:.1f} MB",
        ],
        ["taking over", f"{sent['taking_over_s']:.0f}", "", f"{sent['done_before']:,} entries read"],
        [
            "dispatching",
            f"{sent['wall_s']:.0f}",
            f"{sent['peak_rss_mb']:.0f}",
            f"{sent['batches_per_s']:.0f} batches/s; queue at most {sent['deepest_queue']}, under way at most "
            f"{sent['most_under_way']:,} of a window of {sent['window']:,}; {sent['bytes_per_message']} bytes a message",
        ],
        [
            "sealing",
            f"{seal['wall_s']:.0f}",
            f"{seal['peak_rss_mb']:.0f}",
            f"manifest of {seal['manifest_bytes'] / 1e6:.0f} MB",
        ],
    ]
    return lines + table(["", "wall s", "producer's peak MB", ""], rows)
