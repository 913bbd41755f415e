"""The house keeps its rules: imports go down, files stay small, nothing happens at import, every command is documented."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(path for room in ("producer", "workers", "tokenmill") for path in (ROOT / room).rglob("*.py"))

#: What subclasses torch's own classes; the project does without torch. tests/training imports it.
WANTS_TORCH = {ROOT / "tokenmill" / "reader" / "stream.py"}


def test_import_contracts() -> None:
    checked = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_one_noun_with_a_docstring(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(ast.parse(text))


def test_only_settings_reads_the_environment() -> None:
    readers = {path.relative_to(ROOT).as_posix() for path in FILES if "environ" in path.read_text().replace("environment", "")}
    assert readers == {"tokenmill/settings.py"}


def test_nothing_happens_at_import() -> None:
    """Every module can be imported with a hostile environment, and starts no thread and no socket."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in FILES
        if path.name != "__main__.py" and path not in WANTS_TORCH
    ]
    program = (
        "import importlib, socket, threading\n"
        "def refuse(*a, **k): raise AssertionError('a socket at import')\n"
        "socket.socket.connect = refuse\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
    )
    environment = {"TOKENMILL_BROKER": "nonsense://", "TOKENMILL_HOME": "/nowhere", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_help_loads_nothing_heavy() -> None:
    """`tokenmill --help` answers in a third of a second because of this; the time itself is in benchmarks."""
    program = "import sys, producer.cli; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split())
    assert not loaded & {"pyarrow", "numpy", "celery", "redis", "tokenizers", "pydantic", "rich.console", "fastokens"}


@pytest.mark.parametrize(
    "begun",
    [
        "from producer.cli import main; sys.argv = ['tokenmill', 'status', 'nothing']; main()",
        "from workers.pool import main; sys.argv = ['pool', '--name', 'a', '--processes', '1', '--queues', 'q']; main()",
    ],
    ids=["command", "worker"],
)
def test_no_garbage_is_looked_for_in_what_modules_make(begun: str) -> None:
    """It was a quarter of the time of a short command: 210 times while its modules load, and again at the end."""
    program = (
        "import gc, os, sys\n"
        "looks = []\n"
        "gc.callbacks.append(lambda phase, _: looks.append(phase))\n"
        f"try:\n    {begun}\n"
        "except BaseException: print(len(looks) // 2, gc.get_freeze_count(), len(sys.modules))\n"
    )
    environment = {"TOKENMILL_BROKER": "redis://nobody@127.0.0.1:1/nonsense"}  # no worker begins
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, cwd=ROOT)
    looks, kept, modules = map(int, done.stdout.splitlines()[-1].split())
    assert modules > 700
    assert looks < 60, done.stderr
    assert kept > 50_000


def test_every_command_has_help_and_stands_in_the_readme() -> None:
    from producer.cli import app

    readme = (ROOT / "README.md").read_text()
    for command in app.registered_commands:
        assert command.callback is not None
        assert command.callback.__doc__
        assert f"tokenmill {command.callback.__name__}" in readme
