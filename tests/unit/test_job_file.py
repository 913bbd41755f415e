"""Job files: what they may say, where they say something wrong, and that the command line has the last word."""

import json
import tomllib
from datetime import datetime
from pathlib import Path

import jsonschema
import pytest

from producer import jobfile
from producer.jobschema import schema
from producer.options import request
from producer.period import Period
from tests.documented import Page
from tokenmill.errors import UsageError

WHOLE = {"sources": ["a.jsonl"], "tokenizer": "gpt2", "output": "out"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "job.toml"


def test_a_file_says_what_the_options_say(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths start at the file's folder; what is no path stays as it is."""
    monkeypatch.setenv("CORPUS", "/corpora/web")
    file.write_text("""
        sources = ["a.jsonl", "s3://bucket/b", "@list.txt", "{env.CORPUS}/{period:%Y/%m}/*.jsonl"]
        tokenizer = "Qwen/Qwen3-0.6B"
        output = "../tokens/{period}"
        eos_token = "</s>"
        bos_token = false
        limit = "2GB"
        separator = "\\n\\n"
        metadata = ["lang"]
        max_rejected = 0
    """)
    at = file.parent
    sources = [f"{at}/a.jsonl", "s3://bucket/b", f"@{at}/list.txt", "/corpora/web/2026/03/*.jsonl"]
    assert jobfile.read(str(file)).request(Period(datetime(2026, 3, 1))) == request(
        sources=sources,
        tokenizer="Qwen/Qwen3-0.6B",
        output=f"{at.parent}/tokens/2026-03-01",
        eos_token="</s>",
        no_bos_token=True,
        limit="2GB",
        separator="\n\n",
        metadata=["lang"],
        max_rejected=0,
    )


def test_a_tokenizer_with_a_dot_is_a_path(file: Path) -> None:
    file.write_text('sources = ["/a"]\ntokenizer = "./mine/tokenizer.json"\noutput = "/out"')
    assert jobfile.read(str(file)).request().tokenizer == f"{file.parent}/mine/tokenizer.json"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('tokenzier = "x"', "line 1: tokenzier is no option of a job. Did you mean tokenizer?"),
        ("\n\nmax_tokens = 0", "line 3: max_tokens cannot be 0: input should be greater than or equal to 1"),
        ('shuffle = "x"', "line 1: shuffle cannot be 'x': input should be a valid integer"),
        ('format = "tfrecord"', "line 1: format cannot be 'tfrecord': input should be 'megatron'"),
        ("no_eos_token = true", "line 1: no_eos_token is no key. Write eos_token = false."),
        ('[[output]]\noutput = "a"\nsources = ["b"]', "line 3: sources is the same for all outputs of one read."),
        ('[[output]]\noutput = "a"\n[[output]]\noutput = "b"\nstrid = 3', "line 5: strid is no option of a job. Did you mean"),
        ('[[output]]\nformat = "numpy"', "an [[output]] names no output"),
        ('sources = ["a"]\ntokenizer = "t"\n[[output]]\noutput = "a"\n[[output]]\noutput = "./a/"', "two [[output]] tables"),
        ('tokenizer = "t"\noutput = "{period}"', "line 2: output names {period}, and none is given. Give --period"),
        ('tokenizer = "t"\noutput = "{env.NOT_THERE}"', "line 2: output names {env.NOT_THERE}, and the environment has"),
        ('output = "a"', "names no tokenizer. Say tokenizer = "),
        ('tokenizer = "t"\noutput = "a"', "no source is named"),
        ("sources = [", "is no TOML: "),
        ("output = []", "output is an empty list"),
        ('tokenizer = "t"\noutput = "a"\nsources = ["a"]\ntext_field = "a"\ntext_template = "{b}"', "contradict each other"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(UsageError) as refused:
        jobfile.read(str(file)).request()
    assert said in str(refused.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"nowhere\.toml cannot be read: No such file"):
        jobfile.read("nowhere.toml")


def test_editors_are_told_what_is_allowed() -> None:
    """The published schema takes a good file, and refuses what the reader refuses; it has every option's words."""
    published = schema()
    assert published == json.loads(Path("docs/job.schema.json").read_text()), "run: tokenmill schema > docs/job.schema.json"
    check = jsonschema.Draft202012Validator(published)
    good = {**WHOLE, "eos_token": False, "output": [{"output": "a", "tokenizer": "b", "eos_token": "c"}]}
    assert check.is_valid(WHOLE)
    assert check.is_valid(good)
    for bad in ({"max_tokens": 0}, {"tokenzier": "x"}, {"output": [{"format": "numpy"}]}, {"eos_token": True}):
        assert not check.is_valid(bad), bad
    assert all(said.get("description") for said in published["properties"].values())


def test_a_file_that_the_schema_takes_is_read(file: Path) -> None:
    """What stands on its page is a job file."""
    text = next(block.text for block in Page(Path("docs/howto/jobfiles.md")).blocks if block.language == "toml")
    jsonschema.Draft202012Validator(schema()).validate(tomllib.loads(text))
    file.write_text(text)
    assert len(jobfile.read(str(file)).request(Period(datetime(2026, 1, 1))).beside) == 1
