"""An SSH client for deploy/ssh, and what any server of it must keep: one on this machine, or one in a container."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def made_key(path: Path, kind: str = "ed25519") -> Path:
    """A new key pair; PATH.pub is its public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", path.name, "-f", path], check=True)
    return path


def fingerprint(key: Path) -> str:
    """What stands in logs for a key."""
    return subprocess.run(["ssh-keygen", "-l", "-f", key], capture_output=True, text=True, check=True).stdout.split()[1]


class SecureShell:
    """Somebody's client."""

    def __init__(self, host: str, port: int, key: Path, known_hosts: Path) -> None:
        self.host, self.port, self.key, self.known_hosts = host, port, key, known_hosts

    def __call__(self, *command: str, text: bytes = b"", **others: Any) -> subprocess.CompletedProcess[bytes]:
        """Run `ssh -p PORT tok@HOST COMMAND`.

        Args:
            text: standard input.
            others: `user`, `key`, and `options` to put before the host.
        """
        return subprocess.run(self._line(*command, **others), input=text, capture_output=True, timeout=60)

    @contextmanager
    def waiting(self, *command: str) -> Iterator[None]:
        """Run a command that gets no text until the block ends."""
        with subprocess.Popen(self._line(*command), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            yield
            process.communicate(b"", timeout=60)

    def _line(self, *command: str, **others: Any) -> list[str]:
        options = {
            "UserKnownHostsFile": self.known_hosts,
            "StrictHostKeyChecking": "accept-new",
            "IdentityAgent": "none",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": "10",
        }
        given = [f"-o{name}={value}" for name, value in options.items()]
        before = [*map(str, others.get("options", ())), "-i", str(others.get("key", self.key))]
        place = ["-p", str(self.port), f"{others.get('user', 'tok')}@{self.host}"]
        return ["ssh", "-F", "/dev/null", *before, *given, *place, *command]

    def lets_in_only(self, stranger: Path) -> None:
        """No other key, no password, no root; nothing but a key is even offered."""
        refused = {
            "another key": self("generate_tokens", "--help", key=stranger),
            "root": self("generate_tokens", "--help", user="root"),
            "a password": self("generate_tokens", "--help", options=["-oPubkeyAuthentication=no"]),
        }
        for who, answer in refused.items():
            assert answer.returncode == 255, who
            assert b"Permission denied (publickey)." in answer.stderr, (who, answer.stderr)

    def runs_only_generate_tokens(self) -> None:
        """No other command, shell, terminal, file transfer or tunnel."""
        for command in (
            ["id"],
            [],
            ["/bin/sh", "-c", "generate_tokens"],
            ["generate_tokens;", "id"],
            ["$(id)"],
            ["generate_tokens\n--help", "'"],
            ["../generate_tokens"],
        ):
            answer = self(*command)
            assert (answer.returncode, answer.stdout) == (126, b""), command
            assert b"tokenmill: " in answer.stderr
        assert b"uid=" not in self("generate_tokens", "--help", ";", "id").stdout
        terminal = self(options=["-tt"])
        assert terminal.returncode, terminal
        assert b"PTY allocation request failed" in terminal.stderr
        # what is asked for, options, what the client then says
        for what, options, words in (
            ("a file", ["-s"], b"subsystem request failed"),
            ("a way out", ["-W", f"127.0.0.1:{self.port}"], b"administratively prohibited"),
            ("a way in", ["-N", "-oExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1"], b"remote port forwarding failed"),
        ):
            answer = self(*(["sftp"] if what == "a file" else []), options=options)
            assert answer.returncode, what
            assert words in answer.stderr, (what, answer.stderr)

    def is_on_record(self, audit: Callable[[], str], stranger: Path) -> None:
        """Who came with which key, who was turned away, and what was run; never the text."""
        secret = "天知地知"
        assert self("generate_tokens", "--model", "nobody/knows", "--text", secret).returncode
        self("forbidden", "thing")
        self("generate_tokens", key=stranger)
        lines = audit().splitlines()
        mine = fingerprint(self.key)
        assert any("Accepted publickey for tok" in line and mine in line for line in lines)
        assert any(f"gate: {mine} from " in line and "runs generate_tokens" in line for line in lines)
        assert any(f"gate: {mine} from " in line and "refused 'forbidden thing'" in line for line in lines)
        assert any(fingerprint(stranger) in line and "Failed publickey" in line for line in lines), lines
        assert secret not in audit()
