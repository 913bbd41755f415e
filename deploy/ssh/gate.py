"""What a key may run: `generate_tokens`, and nothing else. This is sshd's ForceCommand.

Comes in: SSH_ORIGINAL_COMMAND, as the client wrote it. Goes out: that command in place of this process, or exit status 126.
Always holds: no shell reads what the client wrote; `;`, `$()` and line breaks in it are text. Every call is one line of the
audit log, with the key's fingerprint; of a text that is encoded only the length stands there.
"""

import base64
import hashlib
import logging
import os
import shlex
import sys
from pathlib import Path

ALLOWED = "generate_tokens"
#: Exit status of a shell for what may not be run.
REFUSED = 126


def main() -> None:
    """Become the command, or say why not."""
    audit, asked = Path(sys.argv[1]), os.environ.get("SSH_ORIGINAL_COMMAND", "")
    words, reason = _judged(asked)
    done = f"refused {ascii(asked)[:200]}: {reason}" if reason else f"runs {ALLOWED}, {len(os.fsencode(asked))} bytes"
    logging.basicConfig(
        filename=audit, format="%(asctime)s gate: %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z", level=logging.INFO
    )
    logging.info("%s %s", _who(), done)
    if reason:
        sys.stderr.write(f"tokenmill: {reason}. Example: {ALLOWED} --model bert-base-chinese --text 你好世界\n")
        sys.exit(REFUSED)
    os.execvp(ALLOWED, words)


def _judged(asked: str) -> tuple[list[str], str]:
    """The words of a command, and why they may not be run; no reason if they may."""
    try:
        words = shlex.split(asked)
    except ValueError:
        return [], "a quote in the command is not closed"
    return words, "" if words[:1] == [ALLOWED] else f"only {ALLOWED} may be run here"


def _who() -> str:
    """The fingerprint of the key that logged in, and where from."""
    address, port, *_ = os.environ["SSH_CONNECTION"].split()
    # ExposeAuthInfo: "publickey ssh-ed25519 AAAA…"
    blob = Path(os.environ["SSH_USER_AUTH"]).read_text().split()[2]
    fingerprint = base64.b64encode(hashlib.sha256(base64.b64decode(blob)).digest()).decode().rstrip("=")
    return f"SHA256:{fingerprint} from {address} port {port}"


if __name__ == "__main__":
    main()
