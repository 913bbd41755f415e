"""One list of versions: what pyproject allows, the lock pins with hashes, and the conda environment takes from the lock."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
#: name -> pinned version, in requirements.lock
LOCKED = dict(re.findall(r"^([a-z0-9._-]+)(?:\[[a-z,]+\])?==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["demo"]]


def test_the_lock_pins_what_pyproject_allows() -> None:
    for requirement in declared():
        assert requirement.specifier.contains(LOCKED[requirement.name.lower()]), requirement


def test_what_decides_ids_is_pinned_exactly() -> None:
    exact = {requirement.name for requirement in declared() if str(requirement.specifier).startswith("==")}
    assert {"tokenizers", "fastokens", "gigatoken", "nanotoken", "sentencepiece"} <= exact


def test_every_locked_package_has_hashes_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    for block in re.split(r"\n(?=[a-z])", text):
        assert "--hash=sha256:" in block
    assert "://" not in text


def test_the_conda_environment_takes_everything_from_the_lock() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    assert environment["dependencies"] == ["python=3.11.*", "pip", {"pip": ["-r requirements.lock"]}]
