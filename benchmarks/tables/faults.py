"""The faults that the tests survive."""

from typing import Any

from tables.markdown import table


def faults(found: dict[str, Any]) -> list[str]:
    """Every disturbed job of the chaos suite."""
    rows = [
        [
            one["name"],
            str(one["times"]),
            f"{one['documents_in']:,}",
            f"{one['documents_out']:,}",
            str(one["rejected"]),
            str(one["lost"]),
            "" if one["recovery"] is None else f"{one['recovery']:.1f}",
            str(one["attempts"] or ""),
            "same" if one["same_bytes"] else "without it",
        ]
        for one in found["faults"]
    ]
    head = ["", "times", "documents in", "out", "rejected", "lost or twice", "recovery s", "attempts", "bytes"]
    return [
        f"**Faults survived**, each by a real job on a real broker with real workers, {found['cpus']} cores, {found['date']}. "
        "Recovery: seconds from the fault, or from its end where it lasts, until every batch that it struck is committed. "
        "Bytes: manifest and shards against an undisturbed job's.",
        "",
        *table(head, rows),
        "",
        *[f"- {remark}" for remark in found["remarks"]],
    ]
