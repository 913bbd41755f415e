"""The code of a page of documentation, in order: what is run, what becomes a file, what is expected, what is not run and why.

    ```sh                     run, in the same shell as the blocks before
    ```python                 run by the Python of the same environment
    ```toml title="job.toml"  written to job.toml; so is a block of any language with a title
    ```text                   after one of these: lines that it has to print in this order, … for anything

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
RUN = ("sh", "python")


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

    @property
    def acts(self) -> bool:
        """Whether something happens where it is run."""
        return not self.not_run and (self.title is not None or self.language in RUN)


class Page:
    """A page of documentation."""

    def __init__(self, path: Path) -> None:
        text = path.read_text()
        #: All blocks that name a language, but Sphinx's own.
        self.blocks = [
            Block(
                found["language"], found["text"], found["title"], found["reason"], text[: found.start("text")].count("\n") + 1
            )
            for found in FENCE.finditer(text)
        ]
        self.acts = any(block.acts for block in self.blocks)
        #: Whether it wants PyTorch.
        self.trains = any(block.acts and "import torch" in block.text for block in self.blocks)

    def script(self, python: Path) -> str:
        """The page as one script for bash; each block announces itself."""
        return "\n".join(f"echo '{_mark(block)}'\n{_command(block, python)}" for block in self.blocks if block.acts)

    def unsaid(self, said: str) -> list[str]:
        """What the page shows as printed and a run of its script has not printed."""
        missing, before = [], None
        for block in self.blocks:
            if block.acts:
                before = block
            elif block.language == "text" and before is not None and not block.not_run:
                rest = said.partition(_mark(before))[2].partition("\n== line ")[0]
                for line in block.text.splitlines():
                    found = re.search(".*?".join(map(re.escape, line.split("…"))), rest)
                    rest = rest[found.end() :] if found else rest
                    missing += [] if found else [f"line {block.line}: {line}"]
        return missing


def _mark(block: Block) -> str:
    return f"== line {block.line}"


def _command(block: Block, python: Path) -> str:
    text = f"<<'END_OF_BLOCK'\n{block.text}END_OF_BLOCK"
    if block.title is not None:
        return f'mkdir -p "$(dirname "{block.title}")"\ncat > "{block.title}" {text}'
    return block.text if block.language == "sh" else f"{python} - {text}"
