"""The service that drives registered jobs: a pointer goes with its job's end, and never while the job is asked for again."""

from pathlib import Path

import pytest

from producer import service
from producer.gauges import Gauges
from producer.queue import BatchQueue
from tests.integration.test_queue import on_record
from tests.unit.test_ledger import job
from tokenmill import storage
from tokenmill.broker import JobKeys
from tokenmill.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A job that is registered, and cancelled."""
    ledger = on_record(str(tmp_path / "tokens"))
    service.register(str(tmp_path), job(40), ledger.output)
    ledger.cancel(job(40))
    return ledger


def drive(home: Path, ledger: Ledger, broker: str) -> bool:
    queue, name = BatchQueue(broker), f"{JobKeys(job(40).job_id, ledger.output).name}.json"
    return service._drive(name, str(home / "jobs" / name), {}, queue, Gauges(queue))


def test_the_pointer_of_a_job_that_has_ended_is_removed(ledger: Ledger, tmp_path: Path, broker: str) -> None:
    assert not drive(tmp_path, ledger, broker)
    assert not list((tmp_path / "jobs").iterdir())


def test_a_job_asked_for_again_while_its_end_is_noticed_is_not_forgotten(
    ledger: Ledger, tmp_path: Path, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`tokenmill retry` comes between the look at `cancelled.json` and the removal of the pointer; it waited for ever once."""
    delete = storage.delete

    def late(url: str) -> None:
        monkeypatch.setattr(storage, "delete", delete)
        ledger.take_up()
        service.register(str(tmp_path), job(40), ledger.output)
        delete(url)

    monkeypatch.setattr(storage, "delete", late)
    assert drive(tmp_path, ledger, broker)
    (pointer,) = (tmp_path / "jobs").iterdir()
    assert service.JobPointer.from_json(pointer.read_bytes(), str(pointer)).output == ledger.output
