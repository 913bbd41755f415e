"""Whoever may write to the broker gains nothing by it: no code, no file outside the roots, no worker stopped for good."""

import json
import os
import pickle
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from producer.prepare import prepare
from producer.request import Request
from tests.acceptance.cluster import Cluster, WaitUntil, children
from tests.acceptance.conftest import JOB, Run
from tests.acceptance.flower import Flower
from tokenmill.broker import PREFIX, QUEUE

JOB_ID = "0123456789abcdef"
JSON = "application/json"
PICKLE = "application/x-python-serialize"
QUICK = [*JOB, "--engine", "reference", "--output"]
NAMED = "encode_batch"


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mknod, (str(self.file),)


def envelope(body: str, kind: str = JSON, encoding: str | None = None, **headers: object) -> bytes:
    """A message as kombu lays it into the queue, around any body and with any headers."""
    properties = {"delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": QUEUE}, "priority": 0}
    properties |= {"delivery_tag": os.urandom(8).hex(), "body_encoding": encoding}  # type: ignore[dict-item]
    return json.dumps(
        {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": kind,
            "headers": {"lang": "py", "task": NAMED, "id": "forged", **headers},
            "properties": properties,
        }
    ).encode()


def call(*arguments: object, **headers: object) -> bytes:
    """A message for our task."""
    return envelope(json.dumps([arguments, {}, {}]), **headers)  # type: ignore[arg-type]


class Stranger:
    """Somebody who may write to the broker, and a worker that must bear it."""

    def __init__(self, cluster: Cluster, wait_until: WaitUntil) -> None:
        self.cluster, self.wait_until = cluster, wait_until
        cluster.environment["TOKENMILL_ROOTS"] = str(cluster.folder / "inside")
        (cluster.folder / "inside").mkdir()
        self.worker = cluster.worker("alpha")

    def push(self, message: bytes) -> None:
        """Put a message into the queue as it is."""
        self.cluster.client.lpush(PREFIX + QUEUE, message)

    def idle(self) -> bool:
        """Whether every message was taken and none waits to be put back."""
        client = self.cluster.client
        return not client.llen(PREFIX + QUEUE) and not client.hlen(f"{PREFIX}unacked")

    def says(self, line: str, message: bytes) -> None:
        """Push a message and wait for what the worker logs of it."""
        before = self.cluster.log("alpha").count(line)
        self.push(message)
        self.wait_until(lambda: self.cluster.log("alpha").count(line) > before, f"{line!r} in the worker's log")

    def seals(self, tokenmill: Run, corpus: Path, output: str) -> None:
        """A job of an honest producer comes to its end."""
        (self.cluster.folder / "inside/corpus.jsonl").write_bytes((corpus / "part-0.jsonl").read_bytes()[:200_000] + b"\n")
        asked = ["submit", "inside/corpus.jsonl", *QUICK, output, "--max-rejected", "1", "--follow"]
        done = tokenmill(*asked, TOKENMILL_BROKER=self.cluster.broker)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def stranger(cluster: Cluster, wait_until: WaitUntil) -> Stranger:
    return Stranger(cluster, wait_until)


def on_record(folder: Path, corpus: Path, output: Path) -> str:
    """A real job on record, made by somebody without roots; returns its name."""
    source = folder / "secret.jsonl"
    source.write_bytes((corpus / "part-0.jsonl").read_bytes()[:50_000] + b"\n")
    request = Request(sources=(str(source),), tokenizer=JOB[1], output=str(output), eos_token=JOB[3], bos_token=False,
                      engine="reference")  # fmt: skip
    return prepare(request).job.job_id


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_a_message_reaches_nothing_outside_the_roots(
    stranger: Stranger, tokenmill: Run, corpus: Path, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """A real job outside, links to it from inside, a plan that reads outside: refused, said in Flower, nothing written."""
    flower = Flower(stranger.cluster, wait_until)
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    job_id = on_record(tmp_path, corpus, outside)
    (inside / "link").symlink_to(outside)
    planned = inside / "planned"
    assert on_record(tmp_path, corpus, planned)
    (inside / "half").mkdir()
    for name in ("job.json", "plan.parquet"):
        (inside / "half" / name).write_bytes((outside / name).read_bytes())
    (inside / "half/entries").symlink_to(tmp_path)
    before = files(tmp_path / "outside")
    for number, output in enumerate([outside, inside / "link", f"{inside}/../outside", f"file://{outside}", inside / "half"]):
        stranger.says("lies below none of TOKENMILL_ROOTS=", call(job_id, str(output), number, id=f"forged-{number}"))
    stranger.says("is no absolute path", call(job_id, "outside", 0, id="forged-relative"))
    stranger.says("names no job", call("../../x", str(inside), 0))
    stranger.says("numbers no batch", call(job_id, str(inside), -1))
    stranger.says("it has 2 arguments", call(job_id, str(inside)))
    stranger.says("the job has 1 batches", call(job_id, str(planned), 1))
    stranger.says("batch 000000 is parked", call(job_id, str(planned), 0, id="forged-plan"))
    assert files(outside) == before
    assert not list((planned).glob("shards/*"))
    parked = json.loads((planned / "parked/000000.json").read_text())
    assert f"'{tmp_path}/secret.jsonl' lies below none of TOKENMILL_ROOTS=" in parked["reason"]
    assert parked["stops_job"]
    assert parked["details"] == ""
    assert [path.name for path in planned.glob("parked/*")] == ["000000.json"]
    wait_until(stranger.idle, "every message acknowledged")
    ended = {name: str(flower.task(name).get("result")) for name in ("forged-0", "forged-1", "forged-relative", "forged-plan")}
    assert all("refused: " in ending or "parked: " in ending for ending in ended.values()), ended
    stranger.seals(tokenmill, corpus, "inside/out")
    log = stranger.cluster.log("alpha")
    assert "Traceback" not in log
    assert "starting it again" not in log


def test_a_submit_outside_the_roots_is_refused_at_once(tokenmill: Run, corpus: Path, tmp_path: Path) -> None:
    source = corpus / "part-0.jsonl"
    for roots, refused in [(corpus, tmp_path / "out"), (tmp_path, source)]:
        done = tokenmill("run", source, *QUICK, "out", TOKENMILL_ROOTS=str(roots))
        assert done.returncode == 2
        assert f"'{refused}' lies below none of TOKENMILL_ROOTS=" in done.stderr
        assert not (tmp_path / "out").exists()


def test_whoever_submits_to_workers_that_refuse_learns_why(
    stranger: Stranger, tokenmill: Run, corpus: Path, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """The roots stand on the workers alone: the job does not move, and `status` says why."""
    started = ["submit", corpus, *QUICK, "elsewhere"]
    assert tokenmill(*started, TOKENMILL_BROKER=stranger.cluster.broker).returncode == 0
    stranger.cluster.start("tokenmill", "dispatch", name="dispatch", TOKENMILL_ROOTS="")

    def said() -> bool:
        shown = tokenmill("status", "elsewhere", "--json", TOKENMILL_BROKER=stranger.cluster.broker)
        return any("refused: " in batch["waiting_for"] for batch in json.loads(shown.stdout)["running"].values())

    wait_until(said, "the refusal in `tokenmill status`")
    assert not (tmp_path / "elsewhere/shards").exists()


#: What Celery 5.7 itself falls over: most of these ended the worker, which put them back first, so that the next one ended too.
MALFORMED = {
    "a number": envelope("5"),
    "three numbers": envelope("[5, 6, 7]"),
    "an object": envelope('{"a": 1}'),
    "broken": envelope('[["0123456789abcdef", "/x", 1], {}, {}'),
    "a number of 5,000 digits": envelope(f'[["{JOB_ID}", "/x", {"9" * 5000}], {{}}, {{}}]'),
    "a chain": envelope(json.dumps([[JOB_ID, "/x", 1], {}, {"chain": [{"task": NAMED}]}])),
    "callbacks": envelope(json.dumps([[JOB_ID, "/x", 1], {}, {"callbacks": [{"task": NAMED}]}])),
    "a later time": call(JOB_ID, "/x", 1, eta="2999-01-01T00:00:00"),
    "no time at all": call(JOB_ID, "/x", 1, eta="nonsense"),
    "strange limits": call(JOB_ID, "/x", 1, timelimit=["x", "y"]),
    "a number for a name": call(JOB_ID, "/x", 1, shadow=5),
    "no name": call(JOB_ID, "/x", 1, id=None),
    "another task": call(1, task="os.system"),
    "a task of Celery's": call({"task": NAMED}, [1], task="celery.map"),
    "YAML": envelope("a: 1", kind="application/x-yaml"),
}


def test_messages_of_another_shape_are_dropped_one_line_each(stranger: Stranger, tokenmill: Run, corpus: Path) -> None:
    for message in MALFORMED.values():
        stranger.says("a message is dropped: ", message)
    stranger.wait_until(stranger.idle, "every message acknowledged")
    stranger.seals(tokenmill, corpus, "inside/out")
    log = stranger.cluster.log("alpha")
    assert log.count("a message is dropped: ") == len(MALFORMED)
    assert "Traceback" not in log
    assert "starting it again" not in log


def test_a_pickled_message_is_refused_and_nothing_executed(
    stranger: Stranger, tokenmill: Run, corpus: Path, tmp_path: Path
) -> None:
    """In the queue, and on the channel that Flower's commands come by."""
    made = tmp_path / "made-by-pickle"
    body = b64encode(pickle.dumps(((Evil(made),), {}, {}))).decode()
    stranger.says(
        "a message is dropped: its body is of type 'application/x-python-serialize'", envelope(body, PICKLE, "base64")
    )
    command = b64encode(pickle.dumps({"method": "ping", "arguments": {"x": Evil(made)}, "destination": None})).decode()
    stranger.cluster.client.publish(f"{PREFIX}/0.celery.pidbox", envelope(command, PICKLE, "base64"))
    stranger.wait_until(
        lambda: "Refusing to deserialize untrusted content" in stranger.cluster.log("alpha"), "the second refusal"
    )
    stranger.seals(tokenmill, corpus, "inside/out")
    assert not made.exists()
    assert "starting it again" not in stranger.cluster.log("alpha")
    pickle.loads(pickle.dumps(Evil(made)))
    assert made.exists()  # it would have


def test_garbage_in_the_queue_costs_one_start_of_the_worker(stranger: Stranger, tokenmill: Run, corpus: Path) -> None:
    """kombu itself cannot bear what is no JSON: the item is gone, the worker ends, its supervisor starts it again."""
    stranger.wait_until(lambda: " ready." in stranger.cluster.log("alpha"), "the worker")
    _launcher, main, *_ = children(stranger.worker.pid)
    stranger.push(b"\x80 garbage")
    stranger.wait_until(lambda: main not in children(stranger.worker.pid), "the end of the worker")
    stranger.seals(tokenmill, corpus, "inside/out")
    assert "starting it again" in stranger.cluster.log("alpha")
    assert stranger.worker.poll() is None
