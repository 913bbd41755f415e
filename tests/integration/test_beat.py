"""Celery's own beat and a real Valkey, by a clock that the tests hold."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from celery.beat import PersistentScheduler

from producer.local import PrivateBroker
from producer.queue import BatchQueue
from producer.schedule import beat, table
from producer.schedule.service import Receiver
from tokenmill.broker import JobKeys, client_url

QUEUE = f"tokenmill:{beat.QUEUE}"

#: A beat that sends what is due at some moments, and is killed before it can do anything else.
KILLED = """
import os, signal, sys
from datetime import datetime
from celery.beat import PersistentScheduler
from producer.schedule import beat, table
from tests.integration import test_beat

path, broker, state, *moments = sys.argv[1:]
test_beat.moment = datetime.fromisoformat(moments[0])
app = beat.application(table.read(path), broker, test_beat.now)
scheduler = PersistentScheduler(app, schedule_filename=state)
for moment in moments:
    test_beat.moment = datetime.fromisoformat(moment)
    while scheduler.tick() == 0:
        pass
os.kill(os.getpid(), signal.SIGKILL)
"""

moment = datetime(2026, 3, 27, 12, tzinfo=UTC)


def now() -> datetime:
    """The time, as beat is told; by name, since beat keeps its entries as pickles."""
    return moment


@pytest.fixture
def file(tmp_path: Path) -> Path:
    job = '[schedule.job]\nsources = ["a"]\ntokenizer = "t"\noutput = "o"'
    path = tmp_path / "s.toml"
    path.write_text(f'[[schedule]]\nname = "n"\ncron = "30 2 * * *"\ntimezone = "Europe/Paris"\n{job}')
    return path


def sent(client: "redis.Redis") -> list[tuple[str, dict[str, object]]]:
    """Period and headers of each message that waits."""
    found = []
    for raw in reversed(client.lrange(QUEUE, 0, -1)):
        message = json.loads(raw)
        found.append((json.loads(message["body"])[0][1], message["headers"]))
    return found


@pytest.mark.parametrize(
    ("first", "nights"),
    [
        (datetime(2026, 3, 27, 12, tzinfo=UTC), [("2026-03-28", "01:30"), ("2026-03-29", "01:30"), ("2026-03-30", "00:30")]),
        (datetime(2026, 10, 23, 12, tzinfo=UTC), [("2026-10-24", "00:30"), ("2026-10-25", "00:30"), ("2026-10-26", "01:30")]),
    ],
    ids=["put forward", "put back"],
)
def test_beat_sends_each_night_once(file: Path, tmp_path: Path, first: datetime, nights: list[tuple[str, str]]) -> None:
    global moment
    with PrivateBroker() as broker:
        client = redis.Redis.from_url(client_url(broker.url))
        moment = first
        app = beat.application(table.read(str(file)), broker.url, now)
        scheduler = PersistentScheduler(app, schedule_filename=str(tmp_path / "state"))
        found = []
        for _ in range(3 * 24 * 6):
            while scheduler.tick() == 0:
                pass
            found += [(period, moment.strftime("%H:%M")) for period, _ in sent(client)[len(found) :]]
            moment += timedelta(minutes=10)
        scheduler.close()
        assert found == nights
        assert all(headers["task"] == "start" and headers["expires"] for _, headers in sent(client))
        client.close()


def test_beat_is_killed_after_the_send(file: Path, tmp_path: Path) -> None:
    """The next one, with what the first left on disk, does not send the night again."""
    with PrivateBroker() as broker:
        client = redis.Redis.from_url(client_url(broker.url))
        nights = ["2026-03-27T12:00:00+00:00", "2026-03-28T01:30:06+00:00", "2026-03-29T01:30:06+00:00"]
        for moments in (nights, ["2026-03-29T01:30:12+00:00"]):
            command = [sys.executable, "-c", KILLED, str(file), broker.url, str(tmp_path / "state"), *moments]
            done = subprocess.run(command, env=dict(os.environ), cwd=Path(__file__).parents[2], capture_output=True, text=True)
            assert done.returncode == -signal.SIGKILL, done.stderr
        assert [period for period, _ in sent(client)] == ["2026-03-28", "2026-03-29"]
        client.close()


def test_what_is_no_message_of_ours_is_dropped(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever may write to the broker ends no scheduler by it."""
    schedules = table.read(str(file))
    with PrivateBroker() as broker:
        client = redis.Redis.from_url(client_url(broker.url))
        app = beat.application(schedules, broker.url)
        client.lpush(QUEUE, b"\x80no json", b"[]", b'{"body": 3}')
        app.send_task("other", args=("n", "2026-03-28"), queue=beat.QUEUE)
        app.send_task(beat.TASK, args=("m", "2026-03-28"), queue=beat.QUEUE)
        app.send_task(beat.TASK, args=("n", "../../x"), queue=beat.QUEUE)
        app.send_task(beat.TASK, args=("n", "2026-03-28"), expires=datetime.now(UTC) - timedelta(1), queue=beat.QUEUE)
        app.send_task(beat.TASK, args=("n", "2026-03-29"), queue=beat.QUEUE)
        receiver, found = Receiver(schedules, broker.url), []
        while not found:
            found = receiver.wait()
        assert [(name, period) for name, period, _ in found] == [("n", "2026-03-29")]
        found[0][2].ack()
        receiver.close()
        assert client.llen(QUEUE) == 0
        assert caplog.text.count("dropped") == 7
        client.close()


def test_the_rights_that_compose_gives_are_enough(file: Path, tmp_path: Path) -> None:
    """Beat, the receiver and the lease of a run, as the user `tokenmill` of the broker in docker-compose.yml."""
    global moment
    compose = Path("docker-compose.yml").read_text()
    (rule,) = [line.strip() for line in compose.splitlines() if line.strip().startswith("user tokenmill on >")]
    rights = rule.partition(" resetchannels ")[2].split()
    schedules = table.read(str(file))
    with PrivateBroker() as broker:
        admin = redis.Redis.from_url(client_url(broker.url))
        admin.execute_command("ACL", "SETUSER", "tokenmill", "on", ">secret", "resetchannels", *rights)
        url = "redis+socket://tokenmill:secret@" + broker.url.rpartition("@")[2]
        moment = datetime(2026, 3, 27, 12, tzinfo=UTC)
        scheduler = PersistentScheduler(beat.application(schedules, url, now), schedule_filename=str(tmp_path / "state"))
        moment = datetime(2026, 3, 28, 1, 31, tzinfo=UTC)
        receiver, found = Receiver(schedules, url), []
        while scheduler.tick() == 0 or not found:
            found += receiver.wait()
        receiver.acknowledge(found[0][2])
        assert found[0][:2] == ("n", "2026-03-28")
        one, two, keys = BatchQueue(url), BatchQueue(url), JobKeys("run", "runs/n/2026-03-28.json")
        assert (one.lead(keys), two.lead(keys), one.lead(keys)) == (True, False, True)
        one.clear(keys)
        assert two.lead(keys)
        receiver.close()
        scheduler.close()
        admin.close()


def test_two_beats_of_one_host_keep_apart(tmp_path: Path) -> None:
    """Each has a folder of its own that nobody else may look into, and finds it again."""
    path, home = str(tmp_path / "s.toml"), str(tmp_path / "home")
    one, lock = beat.state_folder(path, home)
    two, other = beat.state_folder(path, home)
    assert one != two
    assert one.stat().st_mode & 0o777 == 0o700
    lock.close()
    again, lock = beat.state_folder(path, home)
    assert again == one
    lock.close()
    other.close()
