"""`tokenmill diff`: two nights of a corpus that grows and changes, as people, pull requests and machines see them."""

import json
from pathlib import Path

from tests.acceptance.conftest import JOB, Run


def test_two_nights(tokenmill: Run, tmp_path: Path) -> None:
    """A new language, broken lines and other text are seen; exit status 1 only where a limit says so."""
    nights = {
        "one": [{"text": f"plain words, number {n}", "language": ("en", "de")[n % 2]} for n in range(400)],
        "two": [{"text": f"plain words, number {n}", "language": ("en", "de")[n % 2]} for n in range(300)]
        + [{"text": f"ⴰⵎⴰⵣⵉⵖ {n} ⵜⴰⵎⴰⵣⵉⵖⵜ", "language": "zgh"} for n in range(200)],
    }
    for name, records in nights.items():
        lines = [json.dumps(record) for record in records] + (['{"text": "cut o'] * 3 if name == "two" else [])
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        job = (*JOB, "--engine", "reference", "--partition-by", "language", "--max-rejected", "0.1")
        done = tokenmill("run", f"{name}.jsonl", *job, "--output", name)
        assert done.returncode == 0, done.stderr
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in nights]

    seen = tokenmill("diff", "one", "two")
    assert (seen.returncode, seen.stderr) == (0, "")
    assert max(map(len, seen.stdout.splitlines())) <= 80
    assert "zgh" in seen.stdout
    assert "broken_json" in seen.stdout

    limits = ("--limit", "fertility=0.1", "--limit", "documents=0.5", "--limit", "new_values=0.05")
    found = tokenmill("diff", "one", "two", *limits, "--json")
    assert found.returncode == 1
    said = json.loads(found.stdout)
    assert said["figures"]["documents"] == {"old": 400, "new": 500, "moved": 0.25, "limit": 0.5, "alarm": False}
    assert said["figures"]["tokens"]["new"] == manifests[1]["tokens"]
    assert said["figures"]["fertility"]["moved"] > 0.1
    assert said["rejected_by_reason"]["broken_json"]["new"] == 3
    assert {row["value"]: (row["old"], row["new"]) for row in said["tokens_by_value"]} == {
        value: tuple(next((part["tokens"] for part in one["parts"] if part["value"] == value), 0) for one in manifests)
        for value in ("en", "de", "zgh")
    }
    assert [alarm.partition(":")[0] for alarm in said["alarms"]] == ["tokens per byte", "of new values"]
    assert tokenmill("diff", "two", "two", *limits).stdout.count("all limits are kept") == 1
    written = tokenmill("diff", "one", "two", *limits, "--markdown")
    assert written.stdout.startswith("### ")
    assert "2 alarms" in written.stdout

    (tmp_path / "two/manifest.json").unlink()
    for refused in (("one", "two"), ("one", "one", "--limit", "words=1"), ("one", "one", "--json", "--markdown")):
        assert tokenmill("diff", *refused).returncode == 2
