"""One corpus a day: handed to the cluster, waited for, and taken back from it if the run fails or is stopped.

Comes in: the run's parameters, rendered with its date. Goes out: a sealed output, or a failed run that says which batches are
parked and why. Always holds: what a run leaves behind is a function of its parameters, so it may be run again, cleared, or made
up for years back; a run that did not succeed leaves no work on the cluster, and what is committed is kept for the next try.

It asks for nothing but the `tokenmill` command on the PATH of Airflow's workers, and TOKENMILL_BROKER, TOKENMILL_HOME and the
storage's credentials in their environment.
"""

import json
import logging
import subprocess
from datetime import timedelta

from airflow.sdk import Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

log = logging.getLogger(__name__)

#: What `tokenmill` ends with where it was asked for something that cannot be.
WRONG_USAGE = 2
#: Parked batches that are named; there may be a million.
NAMED = 10
#: The run's date, wherever it stands in a parameter.
DATE = "{{ ds }}"
#: Where a run's corpus and tokens lie, and what is asked for.
PARAMS = {
    "sources": Param(
        ["s3://corpora/web/{{ ds }}/"], type="array", items={"type": "string"}, description="Files, folders, globs."
    ),
    "tokenizer": Param("Qwen/Qwen3-0.6B", type="string", description="Hub id, folder or file."),
    "output": Param("s3://tokens/web/{{ ds }}", type="string", description="Folder for shards, entries and manifest."),
    "options": Param(
        ["--eos-token=<|endoftext|>"], type="array", items={"type": "string"}, description="More of submit's options."
    ),
}


def tokenmill(*arguments: str) -> str:
    """What a command prints. Raises AirflowFailException where trying again would change nothing, else RuntimeError.

    A task that is killed takes its command along: Airflow signals the whole process group.
    """
    done = subprocess.run(["tokenmill", *arguments], capture_output=True, text=True, check=False)
    log.info("tokenmill %s\n%s", arguments[0], done.stderr)
    if done.returncode == WRONG_USAGE:
        raise AirflowFailException(done.stderr.strip())
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout


def dated(parameter: str) -> list[str]:
    """The values of a parameter, with the run's date in them.

    Nothing else is rendered: whoever may trigger a run would read Airflow's connections and variables by it.
    """
    context = get_current_context()
    given, date = context["params"][parameter], context.get("ds")
    values = [given] if isinstance(given, str) else list(given)
    if date is None and DATE in "".join(values):
        raise AirflowFailException(f"{parameter} asks for {DATE}, and this run has no logical date. Trigger it with one.")
    return [value.replace(DATE, str(date)) for value in values]


@dag(
    schedule="@daily",
    catchup=False,
    max_active_runs=4,
    params=PARAMS,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
)
def tokenmill_corpus() -> None:
    """The DAG."""

    @task
    def submit() -> str:
        """Hand the job to the cluster; the same one again takes it up where it was. Returns its output folder."""
        (tokenizer,), (output,) = dated("tokenizer"), dated("output")
        named = [f"--tokenizer={tokenizer}", f"--output={output}"]
        return tokenmill("submit", *dated("options"), *named, "--", *dated("sources")).strip()

    @task.sensor(mode="reschedule", poke_interval=30, timeout=timedelta(days=1).total_seconds())
    def sealed(output: str) -> bool:
        """Wait for the manifest without keeping a slot; fail as soon as there will be none."""
        status = json.loads(tokenmill("status", output, "--json"))
        log.info("%s of %s batches are committed", status["committed"], status["batches"])
        if parked := status["parked"]:
            reasons = "\n".join(f"batch {batch}: {reason}" for batch, reason in list(parked.items())[:NAMED])
            raise AirflowFailException(
                f"{len(parked):,} batches are parked, so there will be no manifest:\n{reasons}\n"
                f"Mend the cause, then clear this run: what is committed in {output} is kept."
            )
        if status["stopped"] or status["cancelled"]:
            raise AirflowFailException(f"the job has ended without a manifest: {status['stopped'] or 'it was cancelled'}")
        return bool(status["sealed"])

    @task
    def withdraw() -> None:
        """Take back what is not sealed, whether the run has failed or somebody has stopped it."""
        try:
            tokenmill("cancel", *dated("output"))
        except AirflowFailException as nothing_to_cancel:
            log.info("%s", nothing_to_cancel)

    # a teardown runs even after a failure, and in a run that is marked as failed by hand, and decides nothing about the run
    sealed(submit()) >> withdraw().as_teardown()


tokenmill_corpus()
