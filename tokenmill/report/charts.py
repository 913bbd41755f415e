"""Charts as SVG that stands in a page: no script, no file beside it, colours by the page's own CSS variables.

Comes in: numbers. Goes out: an `<svg>` element. Always holds: nothing that anybody else has named is handed to the plotting
library, which would make links and formulas of it; series have numbers, and the page itself says what they are.

The library is lets-plot: it draws in its own native code, without a browser, is loaded in 0.05 s and takes 10 ms for a chart
(matplotlib 3.11: 0.4 s, of a fresh machine 0.8 s, and 17 MB more; Vega would need a JavaScript engine of 30 MB).
"""

import re
from typing import Any

from tokenmill.report.statistics import Throughput

#: Colours that stand for CSS variables, as #0102NN and rgb(1,2,N).
INK, LINE, BAR, SERIES = 1, 2, 3, 16
NAMES = {INK: "--ink", LINE: "--line", BAR: "--bar", **{SERIES + k: f"--series-{k}" for k in range(8)}}
#: Width and height of a chart before the page fits it into its column.
SIZE = (760, 230)


def lengths(counts: tuple[int, ...]) -> str:
    """Documents by length: counts[k] have between 2^(k-1) and 2^k - 1 tokens."""
    from lets_plot import aes, geom_bar, ggplot, labs, scale_x_continuous, scale_y_continuous

    first = next((k for k, count in enumerate(counts) if count), 0)
    bins = list(range(first, len(counts)))
    # marks stand where a length begins, at the left edge of its bar; every second one where they would touch
    marks = [k for k in bins if len(bins) <= 12 or (k - first) % 2 == 0]
    plot = (
        ggplot({"length": [k + 0.5 for k in bins], "documents": list(counts[first:])}, aes("length", "documents"))
        + geom_bar(stat="identity", width=0.94, fill=_colour(BAR), color="transparent", tooltips="none")
        + scale_x_continuous(breaks=marks, labels=[_length(k) for k in marks], expand=[0.01, 0])
        + scale_y_continuous(format=",~d", expand=[0, 0, 0.05, 0])
        + labs(x="tokens, from", y="documents")
    )
    return _drawn(plot, "Histogram of documents by their number of tokens")


def throughput(found: Throughput) -> str:
    """Tokens per second over time, the workers' bars on top of each other."""
    from lets_plot import aes, geom_bar, ggplot, labs, scale_fill_manual, scale_x_continuous, scale_y_continuous

    steps = len(next(iter(found.series.values()), []))
    unit, seconds = _unit(steps * found.step)
    step = found.step / seconds
    columns: dict[str, list[Any]] = {"time": [], "rate": [], "worker": []}
    for number, rates in enumerate(found.series.values()):
        columns["time"] += [(k + 0.5) * step for k in range(steps)]
        columns["rate"] += [rate / 1e6 for rate in rates]
        columns["worker"] += [f"{number}"] * steps
    plot = (
        ggplot(columns, aes("time", "rate", fill="worker"))
        + geom_bar(stat="identity", width=1.0, size=0, color="transparent", tooltips="none", show_legend=False)
        + scale_fill_manual(values=[_colour(SERIES + k) for k in range(8)])
        + scale_x_continuous(expand=[0.01, 0])
        + scale_y_continuous(expand=[0, 0, 0.05, 0])
        + labs(x=f"{unit} since the first batch began", y="million tokens per second")
    )
    return _drawn(plot, "Tokens per second over time, by worker")


def _drawn(plot: Any, says: str) -> str:
    """The chart as an element that takes the width it is given."""
    from lets_plot import element_blank, element_line, element_text, ggsize, theme, theme_minimal

    ink, line = element_text(color=_colour(INK), size=12), element_line(color=_colour(LINE), size=0.7)
    look = theme(
        text=ink, axis_text=ink, axis_title=ink,
        panel_grid_major_y=line, panel_grid_major_x=element_blank(), panel_grid_minor=element_blank(),
        axis_ticks=element_blank(), axis_line_x=line,
        plot_background=element_blank(), panel_background=element_blank(), panel_border=element_blank(),
    )  # fmt: skip
    svg: str = (plot + theme_minimal() + look + ggsize(*SIZE)).to_svg()
    svg = re.sub(r"#0102([0-9a-f]{2})", lambda found: _variable(int(found[1], 16)), svg)
    svg = re.sub(r"rgb\(1,2,(\d+)\)", lambda found: _variable(int(found[1])), svg)
    size = f'viewBox="0 0 {SIZE[0]} {SIZE[1]}" role="img" aria-label="{says}"'
    return re.sub(r"\s+", " ", re.sub(r'width="[\d.]+" height="[\d.]+"', size, svg, count=1))


def _colour(number: int) -> str:
    return f"#0102{number:02x}"


def _variable(number: int) -> str:
    return f"var({NAMES.get(number, '--ink')})"


def _unit(seconds: float) -> tuple[str, float]:
    """In what a time of so many seconds is measured."""
    return ("hours", 3600.0) if seconds > 3 * 3600 else ("minutes", 60.0) if seconds > 180 else ("seconds", 1.0)


def _length(k: int) -> str:
    """The shortest length in a histogram's bin, short."""
    tokens = 0 if k == 0 else 1 << (k - 1)
    for unit, size in (("G", 1 << 30), ("M", 1 << 20), ("k", 1 << 10)):
        if tokens >= size:
            return f"{tokens // size}{unit}"
    return str(tokens)
