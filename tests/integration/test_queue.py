"""What goes through a real broker: small messages without text, sightings, one leader."""

import contextlib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import redis

from producer.dispatch import AHEAD, Dispatcher, Outcome
from producer.pace import Pace
from producer.progress import Tally, look
from producer.queue import BatchQueue, queue_of
from tests.unit.test_ledger import entry, job
from tokenmill import broker as names
from tokenmill import plan, storage
from tokenmill.errors import JobError, TransientError
from tokenmill.job import Batch, Counts, Cut, Device, ParkedBatch, Span
from tokenmill.ledger import Ledger


@pytest.fixture
def client(broker: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(names.client_url(broker)) as connection:
        connection.flushall()
        yield connection


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A job of 40 batches on record."""
    return on_record(str(tmp_path / "tokens"))


def on_record(output: str) -> Ledger:
    ledger = Ledger(output)
    span = Span(url="/c/a.jsonl", cut=Cut.BYTES, start=0, stop=5, bytes=5, size=0, mark="")
    storage.put(ledger.url(plan.NAME), plan.written(Batch(index=i, spans=(span,)) for i in range(40)))
    assert ledger.claim_for(job(40))
    return ledger


def sent(client: redis.Redis, queue: str = names.QUEUE) -> list[int]:
    """The batches in a queue, oldest first."""
    messages = [json.loads(message) for message in client.lrange(names.PREFIX + queue, 0, -1)]
    return [json.loads(message["body"])[0][2] for message in reversed(messages)]


def keys_of(ledger: Ledger) -> names.JobKeys:
    return names.JobKeys(job(1).job_id, ledger.output)


def take(client: redis.Redis, ledger: Ledger, *batches: int) -> None:
    """What a worker does: take the messages off the queue, commit, drop the sightings."""
    client.delete(names.PREFIX + names.QUEUE)
    for batch in batches:
        ledger.commit(entry(batch))
        client.hdel(keys_of(ledger).sightings, str(batch))


def test_a_message_is_small_and_holds_no_text(broker: str, client: redis.Redis) -> None:
    """Law 5: names and numbers only, at most 1 KB, also for a job with many spans in a deep folder."""
    span = Span(url=f"/data/{'x' * 90}/a.jsonl", cut=Cut.WHOLE, start=0, stop=0, bytes=10**7, size=10**7, mark="1700000000")
    spans = (span,) * 500
    output = "/lustre/projects/language-models/corpora/fineweb-edu/2026-11/qwen3"
    BatchQueue(broker).send(job(99), output, Batch(index=98, spans=spans))
    (message,) = client.lrange(names.PREFIX + names.QUEUE, 0, -1)
    assert len(message) <= 1024
    assert json.loads(json.loads(message)["body"])[0] == [job(99).job_id, output, 98]
    assert b"jsonl" not in message


def test_storage_that_is_away_for_a_moment_stops_nothing(
    broker: str, client: redis.Redis, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be away in the midst of reading the plan: then the plan is read anew."""
    dispatcher, plan_of = Dispatcher(ledger, BatchQueue(broker)), ledger.plan

    def cut_off() -> Iterator[Batch]:
        yield from islice(plan_of(), 3)
        raise TransientError("storage is away")

    monkeypatch.setattr(ledger, "plan", cut_off)
    with pytest.raises(TransientError):
        dispatcher.tick()
    monkeypatch.setattr(ledger, "plan", plan_of)
    dispatcher.tick()
    assert dispatcher.outcome is None
    assert set(sent(client)) == set(range(AHEAD))


def test_the_whole_window_is_sent_and_no_more(broker: str, client: redis.Redis, ledger: Ledger) -> None:
    dispatcher = Dispatcher(ledger, BatchQueue(broker))
    dispatcher.tick()
    dispatcher.tick()
    assert sent(client) == list(range(AHEAD))


def test_what_is_done_is_not_sent_again(broker: str, client: redis.Redis, ledger: Ledger) -> None:
    for index in (0, 2, 3):
        ledger.commit(entry(index))
    progress = Dispatcher(ledger, BatchQueue(broker)).tick()
    assert sent(client) == [1, *range(4, AHEAD + 3)]
    assert (progress.committed, progress.counts.documents) == (3, 6)


def test_redis_wiped_in_mid_job_changes_nothing(broker: str, client: redis.Redis, ledger: Ledger) -> None:
    """Law 3: everything that is not in the ledger is sent again."""
    dispatcher = Dispatcher(ledger, BatchQueue(broker))
    dispatcher.tick()
    take(client, ledger, 0, 1, 2)
    client.flushall()
    while dispatcher.outcome is None:
        dispatcher.tick()
        take(client, ledger, *sent(client))
    assert dispatcher.outcome is Outcome.SEALED
    manifest = ledger.manifest()
    assert manifest is not None
    assert [shard.index for shard in manifest.shards] == list(range(40))
    assert Path(ledger.url("report.html")).exists()
    assert client.keys("tokenmill:*:0123*") == []  # nothing of the job stays in Redis


def test_a_batch_whose_worker_fell_silent_is_sent_again(
    broker: str, client: redis.Redis, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatcher = Dispatcher(ledger, BatchQueue(broker))
    dispatcher.tick()
    client.delete(names.PREFIX + names.QUEUE)  # taken by a worker, which beats once and dies
    client.hset(keys_of(ledger).sightings, "5", json.dumps({"state": "running", "worker": "w"}))
    dispatcher.tick()
    assert sent(client) == [AHEAD, AHEAD + 1]  # the window grows by two for one that runs
    monkeypatch.setattr("producer.dispatch.STALE", 0.0)
    dispatcher.tick()
    take(client, ledger, *(index for index in range(AHEAD + 2) if index != 5))
    dispatcher.tick()
    assert sent(client)[0] == 5


def test_a_job_that_is_given_another_device_moves_at_once(
    broker: str, client: redis.Redis, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever drives it notices; what waits where no worker may ever look is sent again, what runs is left alone.

    The queue it goes to is never empty, so waiting for that would take for ever.
    """
    ledger.write_job(job(40).model_copy(update={"device": Device.CUDA}))
    dispatcher = Dispatcher(ledger, BatchQueue(broker))
    dispatcher.tick()
    assert (sent(client), sent(client, names.GPU_QUEUE)) == ([], list(range(AHEAD)))
    BatchQueue(broker).send(job(40).model_copy(update={"job_id": "f" * 16}), "/another", Batch(index=99, spans=()))
    client.hset(keys_of(ledger).sightings, "5", json.dumps({"state": "running", "worker": "gpu0@host"}))
    dispatcher.tick()
    ledger.write_job(job(40))
    monkeypatch.setattr("producer.dispatch.HEARING", 0.0)
    dispatcher.tick()
    # the window, two more for the one that runs, without that one; and the other job's
    assert sorted(sent(client)) == [*(index for index in range(AHEAD + 2) if index != 5), 99]


@pytest.mark.parametrize(("device", "queue"), [("auto", "encode"), ("cpu", "encode"), ("cuda", "encode.gpu")])
def test_a_queue_that_no_worker_serves_is_known(broker: str, client: redis.Redis, device: str, queue: str) -> None:
    asked = BatchQueue(broker)
    assert queue_of(job(1).model_copy(update={"device": Device(device)})) == queue
    assert not asked.is_served(queue)
    assert asked.waiting(queue) == 0


def test_a_broker_that_fails_in_mid_sending_loses_no_batch(
    broker: str, client: redis.Redis, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatcher = Dispatcher(ledger, BatchQueue(broker))
    real_send, calls = BatchQueue.send, []

    def fail_now_and_then(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) % 5 == 0:
            raise TransientError("the broker is away")
        real_send(*arguments)

    monkeypatch.setattr(BatchQueue, "send", fail_now_and_then)
    while dispatcher.outcome is None:
        with contextlib.suppress(TransientError):
            dispatcher.tick()
        take(client, ledger, *sent(client))
    assert ledger.committed() == list(range(40))


def test_one_dispatcher_leads_and_another_takes_over(broker: str, client: redis.Redis, ledger: Ledger) -> None:
    first, second = Dispatcher(ledger, BatchQueue(broker)), Dispatcher(ledger, BatchQueue(broker))
    first.tick()
    second.tick()
    assert sent(client) == list(range(AHEAD))  # not twice
    client.delete(keys_of(ledger).lead)  # the first one died; its lead ran out
    take(client, ledger, *range(AHEAD))
    second.tick()
    assert sent(client) == list(range(AHEAD, 2 * AHEAD))


def test_the_same_job_in_two_folders_is_two_jobs(broker: str, client: redis.Redis, ledger: Ledger, tmp_path: Path) -> None:
    """What is under way for one is not under way for the other, and the end of one forgets nothing of the other."""
    other = on_record(str(tmp_path / "others"))
    first, second = Dispatcher(ledger, BatchQueue(broker)), Dispatcher(other, BatchQueue(broker))
    first.tick()
    second.tick()
    assert sent(client) == [*range(AHEAD), *range(AHEAD)]
    ids = {json.loads(message)["headers"]["id"] for message in client.lrange(names.PREFIX + names.QUEUE, 0, -1)}
    assert len(ids) == 2 * AHEAD  # each has a row of its own in Flower
    while first.outcome is None:
        take(client, ledger, *range(40))
        first.tick()
    assert (first.outcome, second.tick().committed) == (Outcome.SEALED, 0)
    assert len(client.hgetall(keys_of(other).sightings)) == AHEAD


def test_a_parked_batch_makes_sealing_impossible(broker: str, client: redis.Redis, ledger: Ledger) -> None:
    dispatcher = Dispatcher(ledger, BatchQueue(broker))
    dispatcher.tick()
    ledger.park(ParkedBatch(job_id="j", index=0, stops_job=False, reason="why", attempts=1, worker="w"))
    take(client, ledger, *range(1, AHEAD))
    client.hdel(keys_of(ledger).sightings, "0")
    while dispatcher.outcome is None:
        dispatcher.tick()
        take(client, ledger, *sent(client))
    assert dispatcher.outcome is Outcome.PARKED
    assert ledger.manifest() is None


def test_a_sealed_job_is_known_by_its_manifest_without_reading_it(broker: str, client: redis.Redis, ledger: Ledger) -> None:
    """A million shards make a manifest of hundreds of MB, and a dispatcher asks five times a second."""
    Path(ledger.url("manifest.json")).write_text("as good as any, until somebody reads it")
    dispatcher = Dispatcher(ledger, BatchQueue(broker))
    progress = dispatcher.tick()
    assert (progress.sealed, dispatcher.outcome) == (True, Outcome.SEALED)


def test_an_entry_beyond_the_plan_is_not_counted_and_refuses_the_seal(broker: str, client: redis.Redis, ledger: Ledger) -> None:
    for index in (*range(40), 1_000_000_000_000):
        ledger.commit(entry(index))
    with pytest.raises(JobError, match="cannot be sealed: 41 of 40 batches have an entry"):
        Dispatcher(ledger, BatchQueue(broker)).tick()
    assert ledger.totals() is None


def test_trouble_of_the_whole_job_stops_it(broker: str, client: redis.Redis, ledger: Ledger) -> None:
    ledger.park(ParkedBatch(job_id="j", index=0, stops_job=True, reason="wrong tokenizer", attempts=1, worker="w"))
    another = Dispatcher(ledger, BatchQueue(broker))
    with pytest.raises(JobError, match="batch 000000 stopped the job: wrong tokenizer"):
        Dispatcher(ledger, BatchQueue(broker)).tick()
    with pytest.raises(JobError, match="batch 000000 stopped the job: wrong tokenizer"):
        another.tick()  # it does not lead, and hears of it
    seen = look(Tally(ledger), broker, Pace())
    assert seen.ended
    assert seen.summary()["stopped"] == "batch 000000 stopped the job: wrong tokenizer"
    ledger.take_up()
    assert not look(Tally(ledger), broker, Pace()).ended
    assert Dispatcher(ledger, BatchQueue(broker)).tick().committed == 0


def test_too_many_damaged_documents_stop_the_job_early(broker: str, client: redis.Redis, ledger: Ledger) -> None:
    """100 source bytes; after 7 of them one document of 100 is broken, so about 14 of 1,429 will be: one in a hundred is
    allowed, two are not. Empty documents count for nothing here.
    """
    allowed = entry(0).model_copy(update={"counts": Counts(documents=99, rejected={"broken_json": 1}, input_bytes=7)})
    ledger.commit(allowed)
    Dispatcher(ledger, BatchQueue(broker)).tick()
    empties = {"broken_json": 1, "empty": 900}
    ledger.commit(entry(1).model_copy(update={"counts": Counts(documents=99, rejected=empties, input_bytes=50)}))
    client.flushall()
    Dispatcher(ledger, BatchQueue(broker)).tick()
    ledger.commit(entry(2).model_copy(update={"counts": Counts(documents=1, rejected={"null_text": 30}, input_bytes=30)}))
    client.flushall()
    with pytest.raises(JobError, match=r"32 of 1,131 documents so far are damaged, more than --max-rejected 0.01"):
        Dispatcher(ledger, BatchQueue(broker)).tick()


def test_a_broker_that_is_away_is_said_in_one_sentence() -> None:
    with pytest.raises(TransientError, match=r"no broker answers at redis://:…@127\.0\.0\.1:1/0"):
        BatchQueue("redis://:secret@127.0.0.1:1/0").ping()
