"""One list of versions: what pyproject allows, the lock pins with hashes, and the conda environment takes from the lock."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
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
    assert {"tokenizers", "fastokens", "gigatoken", "nanotoken", "sentencepiece", "splintr-rs"} <= exact


def test_every_locked_package_has_hashes_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    for block in re.split(r"\n(?=[a-z])", text):
        assert "--hash=sha256:" in block
    assert "://" not in text


def test_the_conda_environment_takes_everything_from_the_lock() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    assert environment["dependencies"] == ["python=3.11.*", "pip", {"pip": ["-r requirements.lock"]}]


#: Modules that are not called like the package that brings them.
BROUGHT_BY = {"kombu": "celery", "billiard": "celery", "redis": "celery", "google": "protobuf", "splintr": "splintr-rs"}
BROUGHT_BY |= {"prometheus_client": "prometheus-client", "lets_plot": "lets-plot"}
#: Comes with `tokenizers`, which needs it itself.
BROUGHT_BY |= {"huggingface_hub": "tokenizers"}
#: Comes with gigatoken, in whose place it hands over columns.
BROUGHT_BY |= {"awkward": "gigatoken"}
#: NVIDIA's package is called otherwise than its module.
BROUGHT_BY |= {"pynvml": "nvidia-ml-py"}
#: Come with boto3, which is a thin layer over them.
BROUGHT_BY |= {"botocore": "boto3", "urllib3": "boto3"}
#: Known to the type checker only.
TYPES_ONLY = {"_typeshed", "types_boto3_s3"}
#: The extra of the same name: `tokenmill.reader.stream` alone wants it, for whoever trains.
BROUGHT_BY |= {"torch": "tokenmill[torch]"}
#: What Google's client, in an extra too, is a layer over; `google` itself is protobuf's name as well.
BROUGHT_BY |= {"requests": "tokenmill[gs]"}
#: NVIDIA's bindings, in an extra.
BROUGHT_BY |= {"cuda": "tokenmill[cuda]"}
#: What turns data into code.
FORBIDDEN = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "runpy", "code"}


def imported() -> set[str]:
    """The top-level names of all modules that the three packages import, wherever in a file."""
    found = set()
    for path in (path for room in ("producer", "workers", "tokenmill") for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
    return found - {"producer", "workers", "tokenmill"} - TYPES_ONLY


def test_only_declared_packages_are_imported() -> None:
    strangers = {BROUGHT_BY.get(name, name) for name in imported() - sys.stdlib_module_names}
    assert strangers <= {requirement.name for requirement in declared()} | {
        "tokenmill[torch]",
        "tokenmill[gs]",
        "tokenmill[cuda]",
    }


def test_nothing_that_turns_data_into_code_is_imported() -> None:
    assert not imported() & FORBIDDEN


CLEAN = {"name": "a", "version": "1", "vulns": []}
KNOWN = {"name": "b", "version": "2", "vulns": [{"id": "CVE-2022-1", "fix_versions": ["3"]}]}
UNASKED = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(("packages", "status", "said"), [
    ([CLEAN], 0, "1 packages asked about, 0 vulnerabilities known"),
    ([CLEAN, KNOWN], 1, "b 2: CVE-2022-1, mended in ['3']"),
    ([CLEAN, UNASKED], 0, "nothing could be learnt about c"),
    ([KNOWN, UNASKED], 1, "CVE-2022-1"),
    ([UNASKED], 0, "NOT DONE"),
    (None, 0, "NOT DONE"),
])  # fmt: skip
def test_the_audit_fails_on_what_is_known_and_says_when_nobody_answers(
    packages: list[dict[str, object]] | None, status: int, said: str
) -> None:
    report = "" if packages is None else json.dumps({"dependencies": packages, "fixes": []})
    done = subprocess.run([sys.executable, ROOT / ".ci/audit.py"], input=report, capture_output=True, text=True)
    assert (done.returncode, said in done.stdout) == (status, True), done
