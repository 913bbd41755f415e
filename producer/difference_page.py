"""What `tokenmill diff` shows on a terminal: two outputs side by side in 80 columns, and what is alarming.

Comes in: a difference. Goes out: tables on stdout. Always holds: what has not moved is there too, which is news too.
"""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from producer import display
from tokenmill.report import Change, Difference
from tokenmill.report.words import figure

#: Rows of a table of values or reasons; the rest is counted.
ROWS = 16


def show(found: Difference) -> None:
    """Print a difference."""
    display.out.print(Text.assemble(("old  ", "dim"), found.old))
    display.out.print(Text.assemble(("new  ", "dim"), found.new))
    display.out.print()
    display.out.print(_table("", found.figures))
    for head, changes in (("rejected because", found.rejected), (f"tokens by {found.partition_by}", found.values)):
        if changes:
            display.out.print()
            display.out.print(_table(head, changes[:ROWS]))
            if len(changes) > ROWS:
                display.out.print(Text(f"… and {len(changes) - ROWS:,} more", "dim"))
    if found.settings:
        display.out.print()
        for name, (then, now) in found.settings.items():
            display.out.print(Text.assemble("asked for otherwise: ", (name, "bold"), f", {then} → {now}", style="yellow"))
    display.out.print()
    for alarm in found.alarms:
        display.out.print(Text.assemble(("alarm  ", "bold red"), alarm))
    if not found.alarms and any(change.limit is not None for change in found.figures):
        display.out.print(Text("all limits are kept", "green"))


def _table(head: str, changes: Iterable[Change]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column(head, overflow="fold", min_width=22)
    for column in ("old", "new", "moved"):
        table.add_column(column, justify="right", no_wrap=True)
    for change in changes:
        moved = Text(change.says(), "bold red" if change.is_alarming else "yellow" if change.says() in ("new", "gone") else "")
        table.add_row(Text(change.label), figure(change.old, change.is_share), figure(change.new, change.is_share), moved)
    return table
