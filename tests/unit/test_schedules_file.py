"""schedules.toml: what it says, and where it says something wrong."""

from datetime import timedelta
from pathlib import Path

import pytest

from producer.period import Period
from producer.schedule import table
from tokenmill.errors import UsageError

GOOD = """
runs = "../runs"

[[schedule]]
name = "web"
cron = "30 2 * * *"
timezone = "Europe/Paris"
job = "jobs/web.toml"
overlap = "queue"
max_lateness = "12h"

[[schedule]]
name = "code"
cron = "0 */6 * * *"
catch_up = "all"
[schedule.job]
sources = ["code"]
tokenizer = "gpt2"
output = "tokens/code/{period}"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "here" / "jobs").mkdir(parents=True)
    (tmp_path / "here" / "jobs" / "web.toml").write_text('sources = ["w"]\ntokenizer = "gpt2"\noutput = "out/{period:%Y}"')
    return tmp_path / "here" / "schedules.toml"


def test_jobs_in_files_and_in_the_file_itself(file: Path, tmp_path: Path) -> None:
    """Paths of each start at the folder of the file they stand in."""
    file.write_text(GOOD)
    found = table.read(str(file))
    web, code = found.schedules
    assert found.runs == f"{tmp_path}/runs"
    assert (web.overlap, web.max_lateness, web.catch_up) == ("queue", timedelta(hours=12), "latest")
    assert web.job.request(Period.parsed("2026-11-24")).output == f"{tmp_path}/here/jobs/out/2026"
    asked = code.job.request(Period.parsed("2026-11-24T0600"))
    assert (asked.sources, asked.output) == ((f"{tmp_path}/here/code",), f"{tmp_path}/here/tokens/code/2026-11-24T0600")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('overlap = "queue"', 'overlap = "wait"', "line 9: overlap cannot be 'wait': input should be 'skip' or 'queue'"),
        ('cron = "30 2 * * *"', 'cron = "30 25 * * *"', "line 6: cron cannot be '30 25 * * *': bad hour."),
        ("Europe/Paris", "Europe/Pari", "line 7: timezone cannot be 'Europe/Pari': there is no such zone."),
        ('catch_up = "all"', 'catchup = "all"', "line 15: catchup is no key of a schedule. Did you mean catch_up?"),
        (
            'max_lateness = "12h"',
            'max_lateness = "soon"',
            "line 10: max_lateness cannot be 'soon'. Give minutes, hours or days",
        ),
        ('name = "code"', 'name = "web"', "line 13: name: web is the name of another schedule"),
        ('name = "code"', 'name = "../x"', "line 13: name cannot be '../x'"),
        ('tokenizer = "gpt2"', 'tokenzier = "gpt2"', "line 18: tokenzier is no option of a job. Did you mean tokenizer?"),
        ('runs = "../runs"', 'run = "../runs"', "line 2: run is no key of a schedules file. Did you mean runs?"),
        ('name = "web"\n', "", "[[schedule]] says no name"),
        ("jobs/web.toml", "jobs/nowhere.toml", "nowhere.toml cannot be read: No such file"),
        (GOOD, "schedule = []", "has no [[schedule]]"),
        (GOOD, "[[schedule]", "is no TOML: "),
    ],
)
def test_what_is_wrong_is_named_with_its_line(file: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(UsageError) as refused:
        table.read(str(file))
    assert said in str(refused.value)


def test_a_line_in_the_job_of_the_second_schedule(file: Path) -> None:
    """Tables of one name are told apart, those of their outputs too."""
    job = '[[schedule]]\nname = "{0}"\ncron = "* * * * *"\n'
    job += '[schedule.job]\nsources = ["a"]\n[[schedule.job.output]]\noutput = "a"\n'
    file.write_text(job.format("one") + job.format("two") + "strid = 3")
    with pytest.raises(UsageError, match=r"line 15: strid is no option of a job\. Did you mean stride"):
        table.read(str(file))


def test_a_schedule_that_there_is_not(file: Path) -> None:
    file.write_text(GOOD)
    with pytest.raises(UsageError, match=r"has no schedule 'wob'\. It has web, code"):
        table.read(str(file))["wob"]


def test_what_the_readme_and_the_sample_say(file: Path) -> None:
    """Both are schedules files."""
    (file.parent / "nightly.toml").write_text('sources = ["w"]\ntokenizer = "gpt2"\noutput = "out/{period}"')
    blocks = [block for block in Path("README.md").read_text().split("```") if block.startswith("toml\n")]
    (block,) = [block for block in blocks if "[[schedule]]" in block]
    file.write_text(block.removeprefix("toml\n"))
    assert table.read(str(file))["web"].overlap == "skip"
    sample = table.read("deploy/schedules/schedules.toml")
    assert sample["web"].job.request(Period.parsed("2026-11-24")).sources == ("/data/web/2026/11/24",)
