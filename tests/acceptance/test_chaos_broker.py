"""The broker is killed, wiped, away, silent, or delivers twice: no human, the same bytes."""

import json
import time

import pytest
import redis

from tests.acceptance.cluster import committed
from tests.acceptance.network import Wire
from tests.acceptance.trial import BROKER, Trial


@pytest.mark.parametrize("remembers", [pytest.param(True, marks=pytest.mark.slow), False], ids=["with its log", "without"])
def test_the_broker_is_killed(trial: Trial, remembers: bool) -> None:
    trial.cluster.kill_broker()
    trial.cluster.remembers = remembers
    trial.cluster.start_broker()
    trial.wait_until(trial.cluster.answers, "the broker")
    trial.cluster.worker("alpha")
    trial.submit()
    for batches in (3, 12):
        trial.begun(batches=batches)
        trial.cluster.kill_broker()
        trial.cluster.start_broker()
        trial.wait_until(trial.cluster.answers, "the broker")
        before, since = committed(trial.output), time.monotonic()
        trial.wait_until(lambda: committed(trial.output) > before, "work after the broker's return", seconds=BROKER)  # noqa: B023
        trial.recovery = max(trial.recovery or 0.0, time.monotonic() - since)
    trial.sealed(f"kill -9 of the broker {'with' if remembers else 'without'} its log", times=2)


def test_the_broker_is_wiped(trial: Trial) -> None:
    trial.cluster.worker("alpha")
    trial.submit()
    for batches in (3, 10, 20):
        struck, since = trial.begun(batches=batches), time.monotonic()
        trial.cluster.client.flushall()
        trial.recovered(struck, BROKER, since)
    trial.sealed("FLUSHALL", times=3)


@pytest.mark.parametrize("seconds", [12, pytest.param(60, marks=pytest.mark.slow)])
def test_the_broker_is_away(trial: Trial, seconds: int) -> None:
    trial.cluster.worker("alpha")
    trial.submit()
    trial.begun()
    trial.cluster.kill_broker()
    back = time.monotonic() + seconds
    trial.wait_until(lambda: time.monotonic() > back, "the broker's time away", seconds=seconds + 5)
    trial.cluster.start_broker()
    trial.wait_until(trial.cluster.answers, "the broker")
    before, since = committed(trial.output), time.monotonic()
    trial.wait_until(lambda: committed(trial.output) > before, "work after the broker's return", seconds=BROKER)
    trial.recovery = time.monotonic() - since
    trial.sealed(f"the broker away for {seconds} s")


@pytest.mark.parametrize(
    ("mode", "seconds"),
    [
        ("drop", 15),
        pytest.param("slow", 8, marks=pytest.mark.slow),
        pytest.param("drop", 70, marks=pytest.mark.slow),
    ],
)
def test_the_wire_to_the_broker_is_bad(trial: Trial, mode: str, seconds: int) -> None:
    """Silent: connections stay open and nothing arrives. With default time-outs workers then hang for ever."""
    cluster = trial.cluster
    with Wire(cluster.port) as wire:
        cluster.environment["TOKENMILL_BROKER"] = cluster.broker.replace(f":{cluster.port}/", f":{wire.port}/")
        cluster.worker("alpha")
        trial.submit()
        trial.begun()
        wire.mode = mode
        healed = time.monotonic() + seconds
        trial.wait_until(lambda: time.monotonic() > healed, "the bad time", seconds=seconds + 5)
        wire.mode = "pass"
        before, since = committed(trial.output), time.monotonic()
        if not (trial.output / "manifest.json").exists():
            after = lambda: committed(trial.output) > before or (trial.output / "manifest.json").exists()  # noqa: E731
            trial.wait_until(after, "work on the mended wire", seconds=2 * BROKER)
            trial.recovery = time.monotonic() - since
        trial.sealed(f"the wire to the broker {'silent' if mode == 'drop' else 'slow'} for {seconds} s")


def test_every_message_comes_twice(trial: Trial) -> None:
    trial.cluster.worker("alpha")
    trial.cluster.worker("beta")
    producer = trial.submit()
    copied: set[str] = set()

    def copy_messages() -> bool:
        try:
            for message in trial.cluster.client.lrange("tokenmill:encode", 0, -1):
                tag = json.loads(message)["properties"]["delivery_tag"]
                if tag not in copied:
                    copied.add(tag)
                    trial.cluster.client.rpush("tokenmill:encode", message)
        except redis.RedisError:
            pass
        return producer.poll() is not None

    trial.wait_until(copy_messages, "the end", seconds=120)
    assert len(copied) > 10
    trial.sealed("messages delivered twice", times=len(copied))
