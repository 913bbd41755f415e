"""Every command of the documentation does as written: a page is run from top to bottom, in an empty folder, by one shell."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance.conftest import BIN
from tests.documented import Page
from tests.training import environment

DOCS = Path(__file__).parents[2] / "docs"
#: Chinese pages have the same code, see `tests/unit/test_docs.py`; the reference shows no more than how a command is written.
PAGES = {path.relative_to(DOCS).as_posix(): Page(path) for path in sorted([*DOCS.glob("*.md"), *DOCS.glob("howto/*.md")])}
NOT_RUN = {
    f"{name}, line {block.line}": block.not_run for name, page in PAGES.items() for block in page.blocks if block.not_run
}
#: What a page finds in its environment, by the fixture that puts it there.
FINDS = {"howto/cluster.md": "named_broker", "howto/s3.md": "prefix"}
#: Seconds for a page.
PATIENCE = 280


@pytest.fixture
def named_broker(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that the environment names."""
    monkeypatch.setenv("TOKENMILL_BROKER", broker)


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if page.acts])
def test_a_page_does_what_it_says(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    page = PAGES[name]
    if name in FINDS:
        request.getfixturevalue(FINDS[name])
    if page.trains:
        environment.require()
    folder = tmp_path / "empty"
    folder.mkdir()
    said, status = run(page.script(environment.PYTHON if page.trains else BIN / "python"), folder, tmp_path / "printed")
    assert status == 0, said
    assert not page.unsaid(said), said


@pytest.mark.parametrize("where", NOT_RUN)
def test_what_is_not_run_says_why(where: str) -> None:
    pytest.skip(NOT_RUN[where])


def run(script: str, folder: Path, printed: Path) -> tuple[str, int]:
    """What a script prints, and its exit status; whatever it has started ends with it."""
    given = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "NO_COLOR": "1",
        "COLUMNS": "160",
        "PYTHONPATH": str(DOCS.parent),
    }
    with open(printed, "wb") as said:  # no pipe: what runs in the background would keep it open
        shell = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env=given,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            status = shell.wait(PATIENCE)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    return printed.read_text(), status
