"""The README's section "Measured", from the results files.

    python benchmarks/render.py [--results FOLDER] [--readme FILE]

Comes in: `results/*.json`. Goes out: README.md with the text between its two markers replaced. Always holds: no number in that
section is written by hand, and each table says its corpus, hardware, versions and date.
"""

import argparse
import json
from pathlib import Path

from results import FOLDER
from tables.archives import archives
from tables.dispatch import dispatch
from tables.end_to_end import end_to_end
from tables.engines import engines
from tables.exactness import exactness
from tables.facts import facts, facts_alone
from tables.faults import faults
from tables.formats import formats
from tables.one_read import one_read
from tables.reading import reading
from tables.stages import stages
from tables.startup import startup

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- benchmarks begin -->\n", "<!-- benchmarks end -->\n"


def main() -> None:
    """Render every results file that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=FOLDER)
    parser.add_argument("--readme", type=Path, default=README)
    arguments = parser.parse_args()
    lines: list[str] = []
    for section in (
        end_to_end,
        stages,
        engines,
        exactness,
        formats,
        archives,
        one_read,
        facts,
        facts_alone,
        startup,
        reading,
        dispatch,
        faults,
    ):
        file = arguments.results / f"{section.__name__}.json"
        if file.exists():
            lines += [*section(json.loads(file.read_text())), ""]
    before, rest = arguments.readme.read_text().split(BEGIN)
    after = rest.split(END)[1]
    arguments.readme.write_text(before + BEGIN + "\n".join(lines[:-1]) + "\n" + END + after)


if __name__ == "__main__":
    main()
