"""Starts sshd as an ordinary user: `python start.py [sshd options]`.

Comes in: public keys in SSH_KEYS (/keys), this process's environment, TOKENMILL_STATE (/state). Goes out: an sshd, its host key
in STATE/ssh, made once, and its log on standard error and in STATE/audit/ssh.log. Always holds: every key is under `restrict`,
and none brought options of its own; a key file with anything else in it stops the start.
"""

import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
#: What a public key's line begins with; where it begins with anything else, that is an option, or no key.
TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")
#: What a session gets of this process's environment: sshd gives it nothing by itself, not even the PATH of the image. Whatever
#: else the container was given stays here.
PASSED_ON = (
    *("PATH", "CONDA_DEFAULT_ENV", "CUDA_VISIBLE_DEVICES"),
    *("HF_ENDPOINT", "HF_HOME", "HF_HUB_OFFLINE", "TOKENMILL_TOKENIZER", "TOKENMILL_TOKENIZERS"),
)


def main() -> None:
    """Run sshd until it ends or SIGTERM comes."""
    os.umask(0o077)
    state = Path(os.environ.get("TOKENMILL_STATE", "/state"))
    if os.getuid() == 0:
        refuse("this is root. Run it as an ordinary user: the image's is 10001.")
    home, audit = state / "ssh", state / "audit" / "ssh.log"
    for folder in (home, audit.parent):
        folder.mkdir(parents=True, exist_ok=True)
    host_key, authorized = home / "ssh_host_ed25519_key", home / "authorized_keys"
    if not host_key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", host_key], check=True)
    authorized.write_text("".join(authorized_keys(Path(os.environ.get("SSH_KEYS", "/keys")))))
    gate = shlex.join([sys.executable, "-I", str(HERE / "gate.py"), str(audit)])
    options = {"HostKey": host_key, "AuthorizedKeysFile": authorized, "ForceCommand": gate, "SetEnv": environment()}
    given = [f"-o{name}={value}" for name, value in options.items()]
    # sshd starts itself anew for each connection, and insists on an absolute path for it
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin") or refuse("sshd is not installed.")
    command = [sshd, "-D", "-e", "-f", str(HERE / "sshd_config"), *given, *sys.argv[1:]]
    sys.exit(run(command, audit))


def authorized_keys(folder: Path) -> list[str]:
    """The lines of authorized_keys: every key of every `*.pub` in the folder, allowed nothing but the forced command."""
    lines = []
    for file in sorted(folder.glob("*.pub")):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            key = line.strip()
            if not key or key.startswith("#"):
                continue
            where = f"{file}, line {number}"
            if not key.startswith(TYPES):
                refuse(f"{where}: a public key begins with its type, such as ssh-ed25519; options of its own are not taken.")
            if subprocess.run(["ssh-keygen", "-l", "-f", "-"], input=key, text=True, capture_output=True).returncode:
                refuse(f"{where} is no public key. Copy it again from the .pub file that ssh-keygen wrote.")
            lines.append(f"restrict {key}\n")
    return lines or refuse(f"{folder} holds no public key. Put one there, as NAME.pub.")


def environment() -> str:
    """The value of sshd's SetEnv."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    for name, value in passed.items():
        if not value.isprintable() or '"' in value or "\\" in value:
            refuse(f"{name} holds a quote, a backslash or a control character, which sshd cannot hand on.")
    # Without it the text of a command is bytes of no encoding to Python.
    return " ".join(f'{name}="{value}"' for name, value in {**passed, "LANG": "C.UTF-8"}.items())


def run(command: list[str], audit: Path) -> int:
    """Run sshd; its lines, which carry no time, get one. Returns its exit status."""
    logging.basicConfig(
        handlers=[logging.StreamHandler(), RotatingFileHandler(audit, maxBytes=64 << 20, backupCount=8)],
        format="%(asctime)s sshd: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S%z",
        level=logging.INFO,
    )
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="backslashreplace")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: process.terminate())
    assert process.stderr is not None
    for line in process.stderr:
        logging.info(line.rstrip())
    return process.wait()


def refuse(reason: str) -> NoReturn:
    """Say why there is no sshd, and end."""
    sys.exit(f"ssh: {reason}")


if __name__ == "__main__":
    main()
