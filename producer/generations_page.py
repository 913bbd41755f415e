"""What `tokenmill status` says of a folder of generations: one line for each, the newest last."""

from dataclasses import asdict, dataclass

from rich.table import Table

from producer import display
from tokenmill.generations import Chain, Generation


@dataclass(frozen=True, slots=True)
class Line:
    """One generation."""

    number: int
    name: str
    state: str
    #: None while it is not sealed.
    documents: int | None
    tokens: int | None
    new: int
    changed: int
    gone: int


def lines(chain: Chain, last: Generation) -> list[Line]:
    """All generations that are sealed, and the last one whatever it is."""
    found = []
    for sealed in chain.sealed(last):
        record = last if sealed.number == last.number else chain.record(sealed.number)
        state = "retired" if chain.is_retired(sealed.name) else "sealed"
        figures = (sealed.documents, sealed.tokens, record.new, record.changed, record.gone)
        found.append(Line(sealed.number, sealed.name, state, *figures))
    if not found or found[-1].number != last.number:
        state = "cancelled" if chain.ledger(last.name).is_cancelled() else "unfinished"
        found.append(Line(last.number, last.name, state, None, None, last.new, last.changed, last.gone))
    return found


def show(chain: Chain, *, as_json: bool) -> None:
    """Print those of a chain that has some, on stdout."""
    last = chain.last()
    assert last is not None
    found = lines(chain, last)
    if as_json:
        display.facts({"output": chain.output, "generations": [asdict(line) for line in found]}, as_json=True)
        return
    held = [line for line in found if line.state == "sealed"]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("generation", "state", "documents", "tokens", "new", "changed", "gone"):
        table.add_column(column, justify="left" if column in ("generation", "state") else "right")
    for line in found:
        figures = [display.short(figure) if figure is not None else "–" for figure in (line.documents, line.tokens)]
        table.add_row(line.name, line.state, *figures, *(display.short(count) for count in (line.new, line.changed, line.gone)))
    display.out.print(table)
    tokens, documents = sum(line.tokens or 0 for line in held), sum(line.documents or 0 for line in held)
    said = f"{display.short(documents)} documents · {display.short(tokens)} tokens in {len(held):,} generations"
    retired = sum(line.state == "retired" for line in found)
    display.out.print(said + (f" · {retired:,} retired" if retired else ""))
    if found[-1].state == "unfinished":
        display.out.print(f"unfinished: tokenmill status {chain.ledger(last.name).output}")
