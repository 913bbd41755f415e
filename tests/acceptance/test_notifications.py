"""A job and a scheduled run tell of their end, well or not; nothing they leave behind names the webhook."""

import json
from pathlib import Path

from tests.acceptance.conftest import JOB, Run
from tests.integration.test_notify import Hook, hook

__all__ = ["hook"]


def _texts(folder: Path) -> str:
    return "".join(
        path.read_text("utf-8", "replace") for path in folder.rglob("*") if path.suffix in (".json", ".html", ".log")
    )


def test_a_job_tells_of_its_end_and_of_its_failure(tokenmill: Run, tmp_path: Path, hook: Hook) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "bad.jsonl").write_text("no json\n")
    options = [*JOB, "--engine", "reference", "--name", "n$(x)", "--on-end", "cat >> said; echo $TOKENMILL_END_EVENT >> events"]
    done = tokenmill("run", "a.jsonl", *options, "--output", "out", TOKENMILL_NOTIFY=hook.url())
    failed = tokenmill("run", "bad.jsonl", *options, "--output", "bad", "--notify", hook.url())
    assert (done.returncode, failed.returncode) == (0, 1), done.stderr + failed.stderr
    good, bad = hook.told
    assert (good["event"], good["documents"], good["report"]) == ("sealed", 2, f"{tmp_path}/out/report.html")
    assert (bad["event"], "--max-rejected" in bad["reason"]) == ("failed", True)
    assert [json.loads(line)["event"] for line in (tmp_path / "said").read_text().splitlines()] == ["sealed", "failed"]
    assert (tmp_path / "events").read_text() == "sealed\nfailed\n"
    assert "SECRET" not in _texts(tmp_path) + done.stderr + failed.stderr
    alone = tokenmill("submit", "a.jsonl", *options, "--output", "o", TOKENMILL_BROKER="redis://127.0.0.1:1/0")
    assert (alone.returncode, "Give --follow too" in alone.stderr) == (2, True)


def test_a_run_tells_of_its_end(tokenmill: Run, tmp_path: Path, hook: Hook) -> None:
    """The webhook's address comes from the environment; one that is missing there costs a line of the log and no run."""
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n')
    (tmp_path / "schedules.toml").write_text(f"""
[[schedule]]
name = "web"
cron = "0 0 * * *"
notify = ["{{env.HOOK}}"]
on_end = "cat > said"
[schedule.job]
sources = ["a.jsonl"]
tokenizer = "{JOB[1]}"
output = "tokens/{{period}}"
eos_token = false
bos_token = false
engine = "reference"
""")
    done = tokenmill("schedule", "run", "web", "--period", "2026-11-24", HOOK=hook.url())
    assert done.returncode == 0, done.stderr
    (said,) = hook.told
    assert (said["event"], said["name"], said["period"], said["documents"]) == ("sealed", "web", "2026-11-24", 1)
    assert json.loads((tmp_path / "said").read_text())["output"] == f"{tmp_path}/tokens/2026-11-24"
    assert "SECRET" not in _texts(tmp_path) + done.stderr
    lonely = tokenmill("schedule", "run", "web", "--period", "2026-11-25")
    assert (lonely.returncode, "names {env.HOOK}" in lonely.stderr) == (0, True)


def test_a_night_that_brings_much_more_than_the_last_is_an_alarm(tokenmill: Run, tmp_path: Path, hook: Hook) -> None:
    """The night is sealed all the same; who is told hears by how much, and the comparison lies beside the run's record."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "schedules.toml").write_text(f"""
[[schedule]]
name = "web"
cron = "0 0 * * *"
limits = {{ tokens = 0.5, rejected_share = 0.01 }}
notify = ["{{env.HOOK}}"]
[schedule.job]
sources = ["corpus"]
tokenizer = "{JOB[1]}"
output = "tokens"
generation = "{{period}}"
eos_token = false
bos_token = false
engine = "reference"
""")
    for night, documents in (("2026-11-22", 10), ("2026-11-23", 12), ("2026-11-24", 40)):
        (tmp_path / f"corpus/{night}.jsonl").write_text('{"text": "the same text"}\n' * documents)
        done = tokenmill("schedule", "run", "web", "--period", night, HOOK=hook.url())
        assert done.returncode == 0, done.stderr
    assert [said["event"] for said in hook.told] == ["sealed", "sealed", "alarm"]
    assert hook.told[-1]["reason"] == "tokens: +233.3 %, the limit is 50 %"
    first, *rest = [json.loads(path.read_text()) for path in sorted((tmp_path / "runs/web").glob("*.diff.json"))]
    assert (first["alarms"], [one["alarms"] for one in rest]) == ([], [[hook.told[-1]["reason"]]])
    assert first["figures"]["documents"]["new"] == 12
    history = tokenmill("schedule", "history").stdout
    assert "sealed: tokens: +233.3 %" in " ".join(history.split())
    wrong = (tmp_path / "schedules.toml").read_text().replace("tokens = 0.5", "tokns = 0.5")
    (tmp_path / "wrong.toml").write_text(wrong)
    refused = tokenmill("schedule", "list", "--file", "wrong.toml")
    assert (refused.returncode, "line 5: limits: tokns=0.5: there is no figure 'tokns'" in refused.stderr) == (2, True)
