"""Thirty nights by the calendar (twelve in the quick suite), over a change of the clocks, with two schedulers and with faults:
each sealed once, no token lost and none twice.

The clock is ours: `look` is told the time. What it claims is carried out as the service does it, by processes of
`producer.schedule.carry` on a real broker with a real worker.
"""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.acceptance.cluster import Cluster, WaitUntil, children, kill
from tests.growing import byte_tokenizer
from tokenmill import TokenDataset
from tokenmill.generations import Chain

PARIS = ZoneInfo("Europe/Paris")
#: Clocks go back in the night of the 25th.
FIRST = datetime(2026, 10, 19, 2, 30, tzinfo=PARIS)
#: Nights on which a scheduler comes late, nobody comes at all, the carrying process dies, a worker dies, the broker forgets.
LATE, ABSENT, CARRIER, WORKER, BROKER = 2, 4, (3, 7), 8, (9, 11)

FILE = """
[[schedule]]
name = "web"
cron = "30 2 * * *"
timezone = "Europe/Paris"
catch_up = "all"
max_lateness = "2d"
[schedule.job]
sources = ["corpus"]
tokenizer = "{tokenizer}"
output = "tokens"
generation = "{{period}}"
eos_token = false
bos_token = false
batch_bytes = 2000
"""


def stored(output: Path) -> bytes:
    """The ids of an output as its shards have them, end to end."""
    return b"".join(shard.read_bytes() for shard in sorted((output / "shards").glob("*.bin")))


@pytest.mark.parametrize("nights", [12, pytest.param(30, marks=pytest.mark.slow)])
def test_nights(
    cluster: Cluster, wait_until: WaitUntil, tokenmill: Callable[..., subprocess.CompletedProcess[str]], nights: int
) -> None:
    from producer.schedule import table
    from producer.schedule.due import look
    from producer.schedule.runs import Account, Runs

    chance, folder = random.Random(12), cluster.folder
    corpus, output = folder / "corpus", folder / "tokens"
    corpus.mkdir()
    path = folder / "schedules.toml"
    path.write_text(FILE.format(tokenizer=byte_tokenizer(folder)))
    schedules = table.read(str(path))
    schedule = schedules["web"]
    cluster.worker("alpha")

    def both_look(now: datetime) -> list[Account]:
        """Two schedulers at the same moment; what is to be carried out then, whoever of them claimed it."""
        with ThreadPoolExecutor(2) as pool:
            claimed = pool.map(lambda _: look(schedule, Runs(schedules.runs, "web"), now), range(2))
        found = look(schedule, Runs(schedules.runs, "web"), now)
        assert {account.run.period for one in claimed for account in one} == {account.run.period for account in found}
        return found

    def carry(period: str, name: str) -> "subprocess.Popen[bytes]":
        program = Path(sys.executable).name
        return cluster.start(program, "-m", "producer.schedule.carry", path, "web", period, 1, name=name)

    assert both_look(FIRST - timedelta(hours=1)) == []
    owed = 0
    for night in range(nights):
        for number in range(chance.choice((0, 1, 2, 3)) if night else 2):
            texts = [f"night {night} file {number} document {document} é 语" * 3 for document in range(chance.randint(1, 60))]
            lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
            (corpus / f"{night:02d}-{number}.jsonl").write_text(lines)
        owed += 1
        if night == ABSENT:
            continue
        due = datetime.combine(FIRST.date() + timedelta(days=night), FIRST.time(), PARIS)
        accounts = both_look(due + (timedelta(hours=9) if night == LATE else timedelta(seconds=2)))
        assert len(accounts) == owed
        owed = 0
        for account in accounts:
            period = account.run.period
            carriers = [carry(period, "one"), *([carry(period, "other")] if night % 5 == 0 else [])]
            if night in CARRIER:
                wait_until(lambda period=period: (output / period / "job.json").exists(), "the job")
                kill(children(carriers[0].pid), 9)
                carriers[0].wait(30)
                carriers.append(carry(period, "one again"))
                del carriers[0]
            if night == WORKER:
                for pid in children(cluster.worker("beta").pid)[:1]:
                    kill([pid], 9)
            if night in BROKER:
                cluster.client.flushall()
            assert [carrier.wait(120) for carrier in carriers] == [0] * len(carriers)

    names = [(FIRST.date() + timedelta(days=night)).isoformat() for night in range(nights)]
    history = json.loads(tokenmill("schedule", "history", "--json").stdout)
    assert [(one["period"], one["outcome"]) for one in reversed(history)] == [(name, "sealed") for name in names]
    chain = Chain(str(output))
    assert [sealed.name for sealed in chain.sealed(chain.last())] == names

    ends = ("--no-eos-token", "--no-bos-token", "--batch-bytes", 2000)
    one = tokenmill("run", corpus, "--tokenizer", byte_tokenizer(folder), *ends, "--workers", 1, "--output", "one")
    assert one.returncode == 0, one.stderr
    assert b"".join(stored(output / name) for name in names) == stored(folder / "one")
    union, whole = TokenDataset(str(output), hashes=True).manifest, TokenDataset(str(folder / "one")).manifest
    assert (union.documents, union.tokens) == (whole.documents, whole.tokens)
    verified = tokenmill("verify", "tokens", "--full")
    assert verified.returncode == 0, verified.stdout
