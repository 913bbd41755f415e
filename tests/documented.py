"""The code of a page of documentation, in order: what is run, what becomes a file, what is expected, what is not run and why.

    ```sh                     run, in the same shell as the blocks before
    ```python                 run by the Python of the same environment
    ```toml title="job.toml"  written to job.toml; so is a block of any language with a title
    ```text                   after ```sh or ```python: lines that it has to print in this order, … for anything

`<!-- not run: REASON -->` on the line before a block says why no test runs it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n)?"
    r'^```(?P<language>\w+)(?:[^\S\n]+title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """One block of code."""

    language: str
    text: str
    #: The file it is written to.
    title: str | None
    #: Why it is not run.
    not_run: str | None
    #: Its first line in the page.
    line: int


class Page:
    """A page of documentation."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_text()
        #: All blocks with a language, but Sphinx's own.
        self.blocks = [
            Block(
                found["language"], found["text"], found["title"], found["reason"], text[: found.start("text")].count("\n") + 1
            )
            for found in FENCE.finditer(text)
        ]
