"""JupyterLab and SSH as containers of the stack: the same promises that they keep as processes of a machine."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jupyter_server.auth import passwd
from tokenizers import Tokenizer

from tests.containers.stack import Stack
from tests.containers.standins import ROOT
from tests.jupyterlab import JupyterLab
from tests.secureshell import SecureShell, made_key

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]

PASSWORD = "open sesame"


@pytest.fixture(scope="module")
def doors(stack: Stack, tokenizer_path: Callable[[str], Path]) -> Iterator[Path]:
    """Both services, for one password and one key; the folder with the keys."""
    keys = stack.folder / "keys"
    made_key(keys / "mine")
    made_key(keys / "stranger")
    (keys / "allowed").mkdir()
    shutil.copy(keys / "mine.pub", keys / "allowed/me.pub")
    known = stack.data / "tokenizers/bert-base-chinese"
    known.mkdir(parents=True)
    shutil.copy(tokenizer_path("bert"), known / "tokenizer.json")
    stack.set(JUPYTER_PASSWORD_HASH=f"'{passwd(PASSWORD)}'")
    stack.compose("build", "notebook", "ssh", timeout=900)
    stack.up("notebook", "ssh")
    yield keys
    stack.compose("rm", "--force", "--stop", "notebook", "ssh")


@pytest.fixture
def lab(doors: Path, stack: Stack) -> JupyterLab:
    return JupyterLab("127.0.0.1", stack.port("NOTEBOOK"))


@pytest.fixture
def shell(doors: Path, stack: Stack) -> SecureShell:
    return SecureShell("127.0.0.1", stack.port("SSH"), doors / "mine", doors / "known_hosts")


def test_the_notebooks_open_for_the_password_only(lab: JupyterLab) -> None:
    lab.keeps_strangers_out("open sesame!")
    lab.lets_in(PASSWORD, {path.name for path in (ROOT / "notebooks").glob("*.ipynb")})
    lab.guards_pages()


def test_what_is_done_in_the_notebooks_is_on_record(lab: JupyterLab, stack: Stack) -> None:
    container = stack.containers("notebook")[0]
    lab.is_on_record(lambda: stack.execute(container, "cat", "/state/audit/jupyter.jsonl"), PASSWORD)


def test_a_notebook_knows_no_password_of_the_broker_and_cannot_change_a_corpus(doors: Path, stack: Stack) -> None:
    container = stack.containers("notebook")[0]
    assert stack.settings["BROKER_PASSWORD"] not in stack.execute(container, "env")
    with pytest.raises(RuntimeError, match="Read-only file system"):
        stack.execute(container, "touch", "/data/written")


def test_no_notebook_starts_without_a_password(doors: Path, stack: Stack) -> None:
    with pytest.raises(RuntimeError, match="JUPYTER_PASSWORD_HASH is not set"):
        stack.compose("run", "--rm", "--no-TTY", "--env", "JUPYTER_PASSWORD_HASH=", "notebook")


def test_a_key_gets_tokens(shell: SecureShell, tokenizer_path: Callable[[str], Path]) -> None:
    """The very command of the README."""
    answer = shell("generate_tokens", "--model", "bert-base-chinese", "--text", '"你好世界"', "--json")
    assert answer.returncode == 0, answer.stderr
    oracle = Tokenizer.from_file(str(tokenizer_path("bert")))
    oracle.no_padding()
    assert json.loads(answer.stdout)["ids"] == oracle.encode("你好世界", add_special_tokens=False).ids


def test_nothing_but_a_key_and_nothing_but_tokens(shell: SecureShell, doors: Path) -> None:
    shell.lets_in_only(doors / "stranger")
    shell.runs_only_generate_tokens()


def test_who_came_by_ssh_is_on_record(shell: SecureShell, doors: Path, stack: Stack) -> None:
    container = stack.containers("ssh")[0]
    shell.is_on_record(lambda: stack.execute(container, "cat", "/state/audit/ssh.log"), doors / "stranger")


def test_neither_is_root(doors: Path, stack: Stack) -> None:
    for service in ("notebook", "ssh"):
        container = stack.containers(service)[0]
        processes = stack.engine.docker("top", container, "-eo", "pid,uid,comm").splitlines()[1:]
        assert {line.split()[1] for line in processes} == {"10001"}
        assert int(stack.execute(container, "sed", "-n", "s/^CapBnd:\\s*//p", "/proc/1/status"), 16) == 0
