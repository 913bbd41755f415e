"""deploy/airflow under a real Airflow: imported, and run against a real cluster to a sealed job and to a parked batch."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.acceptance.cluster import Cluster, WaitUntil
from tests.acceptance.conftest import BIN, JOB, Run, contents

ROOT = Path(__file__).parents[2]
#: An environment of Airflow's own; `.ci/run` makes it.
AIRFLOW = ROOT / ".venv-airflow" / "bin" / "airflow"
#: The DAG as it is, but for the half minute between two looks.
HASTY = """
import tokenmill_dag  # Airflow passes over files that do not name it
corpus = tokenmill_dag.tokenmill_corpus()
corpus.get_task("sealed").poke_interval = 1.0
"""
#: What Airflow finds in a folder.
IMPORTED = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
graphs = {name: {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks} for name, dag in bag.dags.items()}
warnings = [str(one) for found in bag.captured_warnings.values() for one in found if sys.argv[1] in str(one)]
waits = all(dag.get_task("sealed").reschedule for dag in bag.dags.values())
print(json.dumps({"errors": bag.import_errors, "warnings": warnings, "dags": graphs, "keeps_no_slot": waits}))
"""
DAY = "2026-11-24"
OPTIONS = ["--batch-bytes=200000", "--engine=reference"]
Airflow = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An AIRFLOW_HOME with a database, the DAG as it is and in haste, and of this project `tokenmill` alone on the PATH."""
    if not AIRFLOW.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{AIRFLOW} is missing; .ci/run makes it")
        pytest.skip(f"no Airflow here: make {AIRFLOW.parents[1]} as .ci/run does")
    folder = tmp_path_factory.mktemp("airflow")
    for name in ("path", "hasty"):
        (folder / name).mkdir()
    (folder / "path" / "tokenmill").symlink_to(BIN / "tokenmill")
    (folder / "hasty" / "corpus.py").write_text(HASTY)
    shutil.copytree(ROOT / "deploy" / "airflow", folder / "as-it-is")
    ask(folder, "db", "migrate", check=True)
    return folder


def ask(home: Path, *arguments: object, check: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "as-it-is"),
        "PYTHONPATH": str(home / "as-it-is"),
        "PATH": f"{home / 'path'}:{AIRFLOW.parent}:{os.environ['PATH']}",
    }
    command = [AIRFLOW, *map(str, arguments)]
    everything = {**os.environ, **own, **environment}
    return subprocess.run(command, env=everything, capture_output=True, text=True, timeout=240, check=check, cwd=home)


@pytest.fixture
def run(home: Path, cluster: Cluster, corpus: Path, tmp_path: Path) -> Airflow:
    """One run of the DAG over a day's corpus."""
    shutil.copytree(corpus, tmp_path / "corpus" / DAY)

    def asked(*options: str) -> subprocess.CompletedProcess[str]:
        _, tokenizer, *ends = JOB
        asked_for = {
            "sources": [f"{tmp_path}/corpus/{{{{ ds }}}}/"],
            "tokenizer": tokenizer,
            "output": f"{tmp_path}/tokens/{{{{ ds }}}}",
            "options": [*OPTIONS, *ends, *options],
        }
        own = {name: value for name, value in cluster.environment.items() if name.startswith("TOKENMILL_")}
        own["AIRFLOW__CORE__DAGS_FOLDER"] = str(home / "hasty")
        return ask(home, "dags", "test", "--conf", json.dumps(asked_for), "tokenmill_corpus", DAY, **own)

    return asked


def test_airflow_is_pinned_to_the_last_package_and_no_address() -> None:
    lines = (ROOT / "deploy" / "airflow" / "requirements.txt").read_text().splitlines()
    assert "apache-airflow==3.3.2" in lines
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9._-]+==[0-9a-z.]+", line)] == []


def test_airflow_imports_the_dag(home: Path) -> None:
    command = [AIRFLOW.with_name("python"), "-c", IMPORTED, home / "as-it-is"]
    done = subprocess.run(command, env={**os.environ, "AIRFLOW_HOME": str(home)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {
        "errors": {},
        "warnings": [],
        "dags": {"tokenmill_corpus": {"submit": ["sealed"], "sealed": ["withdraw"], "withdraw": []}},
        "keeps_no_slot": True,
    }


def test_a_parked_batch_fails_the_run_and_the_same_run_again_seals_it(
    cluster: Cluster, run: Airflow, tokenmill: Run, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """The failed run says why and leaves no work behind; mended, it takes up what stands."""
    output, source = tmp_path / "tokens" / DAY, tmp_path / "corpus" / DAY / "part-1.jsonl"
    good, marks = source.read_bytes(), source.stat()
    cluster.start("tokenmill", "dispatch", name="dispatch")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        wait_until(lambda: list((Path(os.environ["TOKENMILL_HOME"]) / "jobs").glob("*.json")), "the job handed over")
        source.write_bytes(good + good)
        cluster.worker("alpha")
        failed = running.result()
    assert failed.returncode != 0
    assert "are parked, so there will be no manifest" in failed.stdout
    assert f"part-1.jsonl is {2 * len(good):,} bytes long, planned were {len(good):,}" in failed.stdout
    assert (output / "cancelled.json").exists()

    source.write_bytes(good)
    os.utime(source, ns=(marks.st_atime_ns, marks.st_mtime_ns))
    mended = run()
    assert mended.returncode == 0, mended.stdout + mended.stderr
    sealed = contents(output)
    alone = tokenmill("run", tmp_path / "corpus" / DAY, *OPTIONS, *JOB, "--output", "alone")
    assert alone.returncode == 0, alone.stderr
    assert sealed == contents(tmp_path / "alone")
    assert not (output / "cancelled.json").exists()


def test_what_cannot_be_asked_for_is_asked_once(run: Airflow, tmp_path: Path) -> None:
    refused = run("--eos-token=no such token")
    assert refused.returncode != 0
    assert "no such token" in refused.stdout
    assert "up_for_retry" not in refused.stdout + refused.stderr
    assert not (tmp_path / "tokens" / DAY).exists()
