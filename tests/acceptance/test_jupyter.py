"""deploy/jupyter as a real JupyterLab of an ordinary user on loopback."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import ordinary
from tests.acceptance.cluster import free_port
from tests.acceptance.conftest import BIN
from tests.jupyterlab import JupyterLab

START = str(ordinary.ROOT / "deploy" / "jupyter" / "start.sh")
PASSWORD = "open sesame"
NOTEBOOKS = {path.name for path in (ordinary.ROOT / "notebooks").iterdir()}


@pytest.fixture(scope="module")
def password_hash() -> str:
    """Made by the command that README and refusal name."""
    program = f"from jupyter_server.auth import passwd; print(passwd({PASSWORD!r}))"
    return subprocess.run([BIN / "python", "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def started(state: Path, log: Path, port: int, password_hash: str) -> "subprocess.Popen[bytes]":
    command = [START, f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1"]
    return ordinary.start(command, state, log, TOKENMILL_STATE=str(state), JUPYTER_PASSWORD_HASH=password_hash)


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    with ordinary.volume() as folder:
        yield folder


@pytest.fixture(scope="module")
def lab(state: Path, password_hash: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    log, found = tmp_path_factory.mktemp("lab") / "log", JupyterLab("127.0.0.1", free_port())
    process = started(state, log, found.port, password_hash)
    try:
        while not found.answers():
            assert process.poll() is None, log.read_text()
        yield found
    finally:
        process.terminate()
        process.wait(20)


def test_without_a_login_there_is_nothing(lab: JupyterLab) -> None:
    lab.keeps_strangers_out("open sesame!")


def test_with_the_password_there_are_the_notebooks(lab: JupyterLab) -> None:
    lab.lets_in(PASSWORD, NOTEBOOKS)


def test_pages_are_guarded(lab: JupyterLab) -> None:
    lab.log_in(PASSWORD)
    lab.guards_pages()


def test_who_did_what_is_on_record(lab: JupyterLab, state: Path) -> None:
    lab.is_on_record(lambda: (state / "audit" / "jupyter.jsonl").read_text(), PASSWORD)


def test_a_changed_notebook_outlives_a_new_start(
    lab: JupyterLab, state: Path, password_hash: str, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """The image's notebooks are copied where there is none of that name, and nowhere else."""
    changed, deleted = sorted((state / "notebooks").glob("*.ipynb"))[:2]
    changed.write_text("mine")
    deleted.unlink()
    again = JupyterLab("127.0.0.1", free_port())
    process = started(state, tmp_path / "log", again.port, password_hash)
    wait_until(again.answers, "a second JupyterLab")
    ordinary.stop(process, wait_until)
    assert changed.read_text() == "mine"
    assert deleted.read_bytes() == (ordinary.ROOT / "notebooks" / deleted.name).read_bytes()


@pytest.mark.parametrize(("given", "said"), [
    ("", "JUPYTER_PASSWORD_HASH is not set"),
    ("=19=10240,t=10,p=8", "JUPYTER_PASSWORD_HASH is no argon2 hash"),  # what is left of one without its quotes
    (PASSWORD, "JUPYTER_PASSWORD_HASH is no argon2 hash"),
])  # fmt: skip
def test_it_refuses_to_start_without_a_password_hash(tmp_path: Path, given: str, said: str) -> None:
    with ordinary.volume() as state:
        assert ordinary.refused(started(state, tmp_path / "log", free_port(), given)) == 1
    told = (tmp_path / "log").read_text()
    assert said in told
    assert "python -c 'from jupyter_server.auth import passwd; print(passwd())'" in told
    assert "Traceback" not in told


def test_root_is_refused(tmp_path: Path, password_hash: str) -> None:
    if os.geteuid():
        pytest.skip("needs root, to be refused")
    environment = {
        **os.environ,
        "TOKENMILL_STATE": str(tmp_path),
        "HOME": str(tmp_path),
        "JUPYTER_PASSWORD_HASH": password_hash,
    }
    environment["PATH"] = f"{BIN}:{environment['PATH']}"
    done = subprocess.run([START, f"--ServerApp.port={free_port()}"], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert done.stderr == "jupyter: this is root. Run it as an ordinary user: the image's is 10001.\n"
