"""The report of a job, as people, pull requests and machines get it; the page in a real browser."""

import json
import os
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import JOB, Run

#: What a hostile corpus holds: in names of files, in records that are rejected, in ids.
HOSTILE = "<script>document.title='broken into'</script><img src=x onerror=\"document.title='broken into'\">"
NAME = "a<b>&'`|@all [x](y).jsonl"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reported")


@pytest.fixture(scope="module")
def output(folder: Path, corpus: Path) -> Path:
    """A sealed job of two folders of sources, some records of which are hostile."""
    from tests.acceptance.conftest import BIN

    sources = folder / "corpus"
    for name in ("python", "strange"):
        (sources / name).mkdir(parents=True)
    shutil.copy(corpus / "part-0.jsonl", sources / "python")
    records = [{"id": HOSTILE, "text": ""}, {"id": "2", "txt": HOSTILE}, {"id": "3", "text": "good words"}]
    lines = [json.dumps(record) for record in records] + [f'{{"text": "{HOSTILE}']
    (sources / "strange" / NAME).write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        [BIN / "tokenmill", "run", "corpus", *JOB, "--output", "out", "--name", "<b>night</b> & day",
         "--engine", "reference", "--batch-bytes", "150000", "--id-field", "id", "--max-rejected", "0.5"],
        cwd=folder, env=os.environ, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "out"


class Elements(HTMLParser):
    """What a page consists of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str | None] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href", "data")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_json_says_what_the_ledger_says(output: Path, tokenmill: Run) -> None:
    """Sums by source and by worker close on the manifest's totals."""
    found = json.loads(tokenmill("report", output, "--json", "--cost-per-hour", 2).stdout)
    manifest = json.loads((output / "manifest.json").read_text())
    for name in ("tokens", "documents", "rejected", "rejected_by_reason", "document_lengths", "text_bytes"):
        assert found[name] == manifest[name]
    assert sum(worker["tokens"] for worker in found["workers"]) == manifest["tokens"]
    by_source = {source["name"]: source for source in found["sources"]}
    assert set(by_source) == {"python/part-0.jsonl", f"strange/{NAME}"}
    assert abs(sum(source["tokens"] for source in by_source.values()) - manifest["tokens"]) <= 2
    step, series = found["throughput"]["step"], found["throughput"]["series"].values()
    assert sum(sum(rates) * step for rates in series) == pytest.approx(manifest["tokens"], rel=1e-6)
    assert found["cost_per_billion_tokens"] == pytest.approx(2 * found["worker_seconds"] / 3600 * 1e9 / manifest["tokens"])
    assert {reason: len(examples) for reason, examples in found["rejected_examples"].items()} == found["rejected_by_reason"]


def test_what_others_have_written_stays_text(output: Path, tokenmill: Run) -> None:
    """The page that the seal left, and Markdown: no element, no link and no address comes of names and excerpts."""
    page = Elements((output / "report.html").read_text())
    assert not page.tags & {"script", "img", "a", "iframe", "object", "link"}
    assert not page.addresses
    said = "".join(page.text)
    assert HOSTILE in said
    assert f"strange/{NAME}" in said
    assert "<b>night</b> & day" in said
    assert said.count("document.title") <= 2 * 3  # excerpts and ids, and no more than that
    printed = tokenmill("report", output, "--markdown").stdout
    assert "<b>" not in printed
    assert "@all" not in printed
    assert "[x](y)" not in printed
    row = next(line for line in printed.splitlines() if "strange/" in line)
    assert row.count("|") == 4


def test_a_job_under_way_has_a_report_too(output: Path, tokenmill: Run, tmp_path: Path) -> None:
    """Of what is done so far; where there is nothing, it says nothing, and does not fall over."""
    copied = tmp_path / "out"
    shutil.copytree(output, copied)
    (copied / "manifest.json").unlink()
    first, *others = sorted((copied / "entries").iterdir())
    for entry in others:
        entry.unlink()
    found = json.loads(tokenmill("report", copied, "--json").stdout)
    done = json.loads(first.read_text())
    assert (found["sealed"], found["committed"], found["tokens"]) == (False, 1, done["counts"]["tokens"])
    first.unlink()
    assert tokenmill("report", copied, "--output", "new.html").stdout.strip() == str(tmp_path / "new.html")
    assert f"0 of {found['batches']} batches" in (tmp_path / "new.html").read_text()


def test_open_shows_the_page(output: Path, tokenmill: Run, tmp_path: Path) -> None:
    """In the user's browser, as BROWSER names it."""
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    done = tokenmill("report", output, "--open", "--output", "page.html", BROWSER=f"{browser} %s")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "opened").read_text().strip() == (tmp_path / "page.html").as_uri()
    assert tokenmill("report", output, "--open", "--json").returncode == 2
    assert tokenmill("report", tmp_path / "nothing").returncode == 2
    assert tokenmill("report", output, "--output", "/etc/x.html", TOKENMILL_ROOTS=str(tmp_path)).returncode == 2


@pytest.mark.parametrize("width", [1280, 500])
def test_a_browser_shows_it_whole(output: Path, width: int, tmp_path: Path) -> None:
    """Real Chromium: no request leaves, nothing of the corpus runs, nothing sticks out of the window, charts are drawn."""
    found = _looked_at(output / "report.html", width, tmp_path)
    assert found["title"] == "<b>night</b> & day · tokenmill"
    assert found["requests"] == []
    assert found["width"] <= width
    assert found["charts"] >= 2
    assert found["tallest"] > 80


#: Put at the end of a copy of the page, which may then run it: it writes what it sees into the page.
PROBE = """<script>addEventListener('load', () => { const seen = {
  title: document.title, width: document.documentElement.scrollWidth,
  requests: performance.getEntriesByType('resource').map(one => one.name),
  charts: document.querySelectorAll('svg').length,
  tallest: Math.max(...[...document.querySelectorAll('svg')].map(one => one.getBoundingClientRect().height)) };
  document.body.innerHTML = ''; document.body.textContent = 'SEEN' + JSON.stringify(seen) + 'NEES'; })</script>"""


def _looked_at(page: Path, width: int, folder: Path) -> Any:
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing")
        pytest.skip("chromium is missing")
    copy = folder / "page.html"
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    said = page.read_text()
    assert policy in said
    # without the policy: what escaping alone does must be enough
    copy.write_text(said.replace(policy, "").replace("</body>", f"{PROBE}</body>"))
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile", "--dump-dom"]
    command += [f"--window-size={width},900", copy.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return json.loads(unescape(done.stdout.partition("SEEN")[2].partition("NEES")[0]))


def test_what_was_made_of_documents(tokenmill: Run, tmp_path: Path) -> None:
    """Parts with their values, rows and padding, outputs of the same read: in the page and in Markdown."""
    texts = [{"text": f"number {n} " * 9, "language": ("de", "<i>en</i>", None)[n % 3]} for n in range(300)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, texts)) + "\n")
    tokenizer, ends = JOB[1], JOB[3]
    outputs = f'[[output]]\noutput = "split"\n\n[[output]]\noutput = "packed"\npack = 64\npad_token = "{ends}"\n'
    (tmp_path / "job.toml").write_text(
        f'sources = ["a.jsonl"]\ntokenizer = "{tokenizer}"\neos_token = "{ends}"\nbos_token = false\n'
        f'engine = "reference"\npartition_by = "language"\n\n{outputs}'
    )
    done = tokenmill("run", "--job", "job.toml")
    assert done.returncode == 0, done.stderr
    split, packed = (" ".join(Elements((tmp_path / name / "report.html").read_text()).text) for name in ("split", "packed"))
    assert "Tokens by language" in split
    assert "<i>en</i>" in split
    assert "(no value)" in split
    assert "3 parts, each a sealed output of its own" in split
    assert f"{tmp_path}/packed" in split
    manifest = json.loads((tmp_path / "packed/manifest.json").read_text())
    assert f"{manifest['sequences']:,} sequences of 64 (concatenate)" in packed
    rows = [line.split("|")[1:4] for line in tokenmill("report", "split", "--markdown").stdout.splitlines()]
    found = {row[0].strip(): row[2].strip() for row in rows if len(row) == 3}
    assert (found["de"], found["&#40;no value&#41;"]) == ("100", "100")
    assert f"{manifest['sequences']:,} sequences of 64" in tokenmill("report", "packed", "--markdown").stdout
