"""The pictures of the README: a real job on real workers, looked at while it runs and when it is sealed.

    python docs/screenshots.py [--folder docs/pictures]

Comes in: nothing; the corpus is that of `tokenmill demo`, with a few damaged records. Goes out: `report-light.png`,
`report-dark.png`, `flower.png`, `status.svg`. Always holds: what is shown is what the programs show, in headless
Chromium and in a terminal of 80 columns (tmux); both have to be installed. Takes about two minutes.
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from producer.demo import EOS, TOKENIZER, write_corpus
from producer.local import PrivateBroker

BIN = Path(sys.executable).parent
FLOWER = ("-m", "celery", "-A", "workers.app", "flower", f"--conf={Path(__file__).parents[1] / 'workers/flowerconfig.py'}")
#: Records that no job likes.
DAMAGED = [
    '{"id": "a", "text": ""}',
    '{"id": "b", "txt": "a field called otherwise"}',
    '{"id": "c", "text": "cut off in the mi',
]


class Stage:
    """A folder, a broker, and processes that end with the `with` block."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        told = {"TOKENMILL_BROKER": stack.enter_context(PrivateBroker()).url, "TOKENMILL_HOME": str(folder / "home")}
        self.environment = {**os.environ, **told, "LC_ALL": "C.UTF-8"}
        self.environment.pop("NO_COLOR", None)

    def run(self, *command: object) -> str:
        """A command to its end; returns what it prints."""
        return subprocess.run(
            list(map(str, command)), cwd=self.folder, env=self.environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    def start(self, *command: object) -> None:
        """A command that goes on."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(list(map(str, command)), cwd=self.folder, env=self.environment, stdout=log, stderr=log)
        self._stack.callback(process.wait, 30)
        self._stack.callback(process.terminate)

    def terminal(self, name: str, command: str) -> Callable[[], str]:
        """A command in a terminal of 80 columns; returns what gives its screen, colours included."""
        tmux = ("tmux", "-S", self.folder / name, "-f", "/dev/null")
        self.run(*tmux, "new-session", "-d", "-x", "80", "-y", "24", f"{command}; cat")
        self._stack.callback(self.run, *tmux, "kill-server")
        return lambda: self.run(*tmux, "capture-pane", "-pe")


def corpus(folder: Path) -> None:
    """Text of several kinds in several files, a few records of it damaged."""
    write_corpus(str(folder / "all.jsonl"))
    lines = (folder / "all.jsonl").read_text().splitlines()
    code = [line for line in lines if json.loads(line)["id"].endswith(".py")]
    for year in range(2024, 2027):
        (folder / f"corpus/{year}").mkdir(parents=True)
        (folder / f"corpus/{year}/python.jsonl").write_text("\n".join(code[: 480 * (year - 2023)]) + "\n")
        (folder / f"corpus/{year}/prose.jsonl").write_text("\n".join([*sorted(set(lines) - set(code)), *DAMAGED]) + "\n")


def wait_until(holds: Callable[[], object], what: str) -> None:
    """Wait for it, two minutes at most."""
    deadline = time.monotonic() + 120
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited two minutes for {what}")
        time.sleep(0.2)


def listens(port: int) -> bool:
    """Whether Flower answers, and knows its workers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/workers?json=1", timeout=5) as answer:
            return len(json.loads(answer.read())["data"]) >= 2
    except OSError:
        return False


def photographed(address: str, to: Path, size: tuple[int, int], *, dark: bool = False) -> None:
    """A page in headless Chromium, in 256 colours."""
    with tempfile.TemporaryDirectory() as profile:
        look = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", look]
        command += [f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "--virtual-time-budget=4000"]
        subprocess.run([*command, f"--screenshot={to}", address], check=True, capture_output=True, timeout=60)
    Image.open(to).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(to, optimize=True)


def drawn(screen: str, to: Path, title: str) -> None:
    """A terminal's screen as SVG."""
    lines = screen.rstrip().splitlines()
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=80, height=len(lines), file=nowhere, force_terminal=True)
        console.print(Text.from_ansi("\n".join(lines)))
    svg = console.export_svg(title=title, theme=MONOKAI, unique_id=to.stem)
    # a README shows nothing that is loaded from elsewhere
    to.write_text(re.sub(r"\s*@font-face {[^}]*}", "", svg))


def in_the_middle(screen: str) -> bool:
    """Whether both workers have documents of their batches behind them."""
    rows = [line.split() for line in Text.from_ansi(screen).plain.splitlines() if "@" in line]
    return len(rows) == 2 and all(int(row[4].replace(",", "")) > 0 for row in rows)


def pictures(folder: Path) -> None:
    """Run the job and take them."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="night-", dir="/tmp")))
        corpus(scratch)
        stage = Stage(scratch, stack)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        stage.start(sys.executable, *FLOWER, f"--port={port}")
        for name in ("alpha", "beta"):
            stage.start(BIN / "tokenmill-worker", "--cpus", 1, "--gpus", "none", "--name", name)
        wait_until(lambda: listens(port), "Flower and its workers")
        # the reference: the engine that takes its time
        job = ("--tokenizer", TOKENIZER, "--eos-token", EOS, "--no-bos-token", "--engine", "reference", "--name", "night")
        stage.run(BIN / "tokenmill", "submit", "corpus", *job, "--batch-bytes", 5_800_000, "--output", "tokens")
        stage.start(BIN / "tokenmill", "dispatch")
        status = stage.terminal("status", f"{BIN}/tokenmill status tokens --watch")
        entries = scratch / "tokens/entries"
        wait_until(lambda: entries.is_dir() and len(list(entries.glob("*.json"))) >= 3, "some batches")
        wait_until(lambda: " left" in status() and in_the_middle(status()), "batches half done")
        drawn(status(), folder / "status.svg", "tokenmill status tokens --watch")
        photographed(f"http://127.0.0.1:{port}/tasks", folder / "flower.png", (1640, 640))
        wait_until((scratch / "tokens/manifest.json").exists, "the seal")
        for name, dark in (("light", False), ("dark", True)):
            page = (scratch / "tokens/report.html").as_uri()
            photographed(page, folder / f"report-{name}.png", (960, 1500), dark=dark)


def main() -> None:
    """Parse the command line, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "pictures")
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for program in ("chromium", "tmux"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is missing. Install it (Debian: apt-get install {program}).")
    pictures(folder)
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size:>9,} {path}")


if __name__ == "__main__":
    main()
