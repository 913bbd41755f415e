"""The documentation: its reference is what the code has, its site builds strictly and needs no other host, Chinese keeps up."""

import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer.main

from producer.cli import app
from tests.documented import Page
from workers import launch

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GENERATED = runpy.run_path(str(DOCS / "generate.py"))["pages"]()


@pytest.mark.parametrize("path", sorted(GENERATED), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_reference_is_what_the_code_has(path: Path) -> None:
    assert path.read_text() == GENERATED[path], "run: python docs/generate.py"


def test_every_variable_is_explained() -> None:
    """Whatever the code reads stands on the page of settings or with an option."""
    explained = "".join((DOCS / "reference" / page).read_text() for page in ("settings.md", "commands.md"))
    rooms = [path.read_text() for room in ("producer", "workers", "tokenmill") for path in (ROOT / room).rglob("*.py")]
    read = set(re.findall(r"\bTOKENMILL_[A-Z]+(?:_[A-Z]+)*\b", "".join(rooms)))
    assert read
    assert not {variable for variable in read if variable not in explained}


class Links(HTMLParser):
    """What a page asks its reader's browser to fetch, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}.get(tag)
        self.fetched |= {value for name, value in attrs if name == wanted and value}


def test_the_site_builds_and_needs_no_other_host(tmp_path: Path) -> None:
    """Strictly: a link to nowhere, a page that no other names, or a heading that is skipped fails it."""
    assert runpy.run_path(str(DOCS / "build.py"))["build"](tmp_path) == 0
    pages = sorted(tmp_path.rglob("*.html"))
    assert {"index.html", "zh/index.html", "reference/commands.html"} <= {str(page.relative_to(tmp_path)) for page in pages}
    for page in pages:
        links = Links()
        links.feed(page.read_text())
        assert links.fetched
        for url in links.fetched:
            assert "//" not in url, (page, url)
            assert (page.parent / url.partition("?")[0].partition("#")[0]).exists(), (page, url)
    assert 'lang="zh-CN"' in (tmp_path / "zh/index.html").read_text()


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "index.md").write_text("# A page\n\n[nowhere](nowhere.md)\n")
    asked = [sys.executable, "-m", "sphinx", "--quiet", "-W", "-c", DOCS, tmp_path, tmp_path / "site"]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.returncode != 0
    assert "nowhere.md" in done.stderr


@pytest.mark.parametrize("name", [path.name for path in sorted((DOCS / "zh").glob("*.md"))])
def test_chinese_pages_have_the_same_code(name: str) -> None:
    chinese, english = (Page(folder / name).blocks for folder in (DOCS / "zh", DOCS))
    assert [(block.language, block.title, block.text) for block in chinese] == [
        (block.language, block.title, block.text) for block in english
    ]


def test_a_test_that_a_page_names_is_there() -> None:
    """What the pages say is shown by a test is shown by one."""
    named = {
        found for page in DOCS.rglob("*.md") for found in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text())
    }
    assert len(named) > 20
    assert not [f"{path}::{test}" for path, test in named if f"def {test}" not in (ROOT / path).read_text()]


def options(command: Any) -> set[str]:
    """What a command and those below it take."""
    mine = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return mine.union(*map(options, getattr(command, "commands", {}).values()))


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(DOCS.glob("howto/*.md"))], ids=lambda path: path.stem)
def test_every_command_that_a_page_shows_is_there(page: Path) -> None:
    """In its blocks and its sentences: a command or an option that is no more would be shown for ever."""
    worker = typer.Typer()
    worker.command()(launch.main)
    text = page.read_text().replace("\\\n", " ")
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    said = [re.split(r"\s(?:#|\||&&|>|;)\s?", line)[0] for line in lines if re.match(r"tokenmill(-worker)? ", line)]
    said += re.findall(r"(?<!`)`(tokenmill(?:-worker)? [^`\n]+)`", text)
    alone = {option for said in re.findall(r"`(--[^`\n]+)`", text) for option in re.findall(r"(?:^|\s)(--[a-z-]+)", said)}
    assert page.stem != "README" or len(said) > 30
    assert alone <= options(typer.main.get_command(app)) | options(typer.main.get_command(worker))
    for line in said:
        program, *words = re.split(r"[\s=|\[\]\\]+", line)
        command: Any = typer.main.get_command(worker if program.endswith("worker") else app)
        while hasattr(command, "commands") and words and words[0].isalpha() and words[0].islower():
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        assert {word for word in words if word.startswith("--")} <= options(command) | {"--help"}, line
