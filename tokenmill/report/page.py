"""`report.html`: a job on one page for people. Self-contained, light, dark and printable, without a script.

Comes in: `Statistics`. Goes out: HTML text. Always holds: whatever names and excerpts say, they are text on the page (escaped
by Jinja2, and the page's own policy forbids scripts and requests); nothing is loaded from anywhere.
"""

import time
from functools import cache
from typing import TYPE_CHECKING

from tokenmill.report import words
from tokenmill.report.statistics import Statistics

if TYPE_CHECKING:
    from jinja2 import Template

#: Parts in the table, the row for all others included.
PARTS = 16


def page(found: Statistics) -> str:
    """The page of a job."""
    lengths, throughput = _charts(found)
    return _template().render(
        found=found,
        totals=found.totals,
        job=found.job,
        tiles=words.tiles(found),
        identity=words.identity(found),
        speed=words.speed(found),
        parts=words.parts(found.totals, PARTS),
        lengths=lengths,
        throughput=throughput,
        day=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(found.ended)) if found.ended else "",
    )


def _charts(found: Statistics) -> tuple[str, str]:
    """The charts as elements; empty where there is nothing to draw, or where this machine cannot draw."""
    try:
        from tokenmill.report import charts

        lengths = charts.lengths(found.totals.document_lengths) if any(found.totals.document_lengths) else ""
        return lengths, charts.throughput(found.throughput) if found.throughput.series else ""
    except (ImportError, OSError):  # native code that does not fit this machine is no reason for a job to stay unsealed
        return "", ""


@cache
def _template() -> "Template":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tokenmill", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": words.short, "size": words.size, "duration": words.duration, "plain": words.plain}
    return environment.get_template("page.html")
