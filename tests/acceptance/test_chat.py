"""Conversations as a user asks for them: shards, masks beside them, and what a training run reads."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from tests.acceptance.conftest import Run
from tests.chatml import CHATML, talk
from tokenmill import TokenDataset

GOOD = [talk(f"How much is {n} and {n}?", f"It is {2 * n}. 你好 🦥", "Sure?", "Yes. " * (n % 7 + 1)) for n in range(300)]
#: With why it is refused.
BAD = [
    (talk("Say <|im_end|>", "No"), "special_token"),
    ([*talk("a"), {"role": "assistant", "content": "b", "note": "<|endoftext|>"}], "special_token"),
    (talk("nobody answers"), "nothing_learned"),
    ("not a list", "not_messages"),
    ([{"role": "user"}], "template_error"),
]


@pytest.fixture
def asked(tokenizer_path: Callable[[str], Path], tmp_path: Path) -> list[object]:
    """What a job of conversations needs: sources, tokenizer, template."""
    lines = [json.dumps({"messages": messages}) for messages in (*GOOD, *(messages for messages, _ in BAD))]
    (tmp_path / "talks.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "t").mkdir()
    (tmp_path / "t/tokenizer.json").symlink_to(tokenizer_path("qwen3") / "tokenizer.json")
    (tmp_path / "t/chat_template.jinja").write_text(CHATML)
    return ["talks.jsonl", "--tokenizer", "t", "--chat", "--max-rejected", "0.1", "--batch-bytes", "20000"]


def plainly(oracle: tokenizers.Tokenizer, messages: list[dict[str, str]]) -> list[tuple[int, int]]:
    """Ids and marks of a ChatML conversation, said in the plainest way."""
    found: list[tuple[int, int]] = []
    for turn in messages:
        answers = int(turn["role"] == "assistant")
        for part, mark in ((f"<|im_start|>{turn['role']}\n", 0), (f"{turn['content']}<|im_end|>", answers), ("\n", 0)):
            found += [(token, mark) for token in oracle.encode(part, add_special_tokens=False).ids]
    return found


def test_a_job_of_conversations(tokenmill: Run, asked: list[object], tmp_path: Path) -> None:
    """Ids and masks are what they should be in any order and format; what is refused is counted."""
    oracle = tokenizers.Tokenizer.from_file(str(tmp_path / "t/tokenizer.json"))
    expected = sorted(plainly(oracle, messages) for messages in GOOD)
    for output, more in (("out", []), ("shuffled", ["--shuffle", 5, "--workers", 1, "--format", "parquet"])):
        done = tokenmill("run", *asked, *more, "--output", output)
        assert done.returncode == 0, done.stderr
        dataset = TokenDataset(str(tmp_path / output))
        opened = [dataset.opened(position) for position in range(len(dataset.manifest.shards))]
        assert len(opened) > 1
        found = [
            list(zip(shard.reader[n].tolist(), shard.mask[shard.starts[n] : shard.starts[n + 1]].tolist(), strict=True))
            for shard in opened
            for n in range(len(shard.reader))
        ]
        assert sorted(found) == expected
        assert dataset.manifest.tokens_learned == sum(mark for document in expected for _, mark in document)
        reasons = [reason for _, reason in BAD]
        assert dataset.manifest.rejected_by_reason == {reason: reasons.count(reason) for reason in reasons}
        verified = tokenmill("verify", output, "--full", "--json")
        assert json.loads(verified.stdout)["compared"] == len(GOOD), verified.stdout

    rows = TokenDataset(str(tmp_path / "out")).windows(64)
    wanted = sum(mark for document in expected for _, mark in document)
    assert abs(sum(int((rows[n]["targets"] >= 0).sum()) for n in range(len(rows))) - wanted) <= len(rows) + 64

    assert tokenmill("convert", "out", "--format", "numpy", "--output", "converted").returncode == 0
    masks = sorted((tmp_path / "out/shards").glob("*.mask"))
    assert masks
    assert all((tmp_path / "converted/shards" / mask.name).read_bytes() == mask.read_bytes() for mask in masks)

    forecast = tokenmill("plan", *asked, "--output", "other", "--dry-run")
    assert forecast.returncode == 0, forecast.stderr


def test_verify_sees_another_mask(tokenmill: Run, asked: list[object], tmp_path: Path) -> None:
    """Even one that its manifest has the right hash of."""
    assert tokenmill("run", *asked, "--output", "out").returncode == 0
    job = json.loads((tmp_path / "out/job.json").read_text())
    job["spec"]["chat"]["learn_from"] = ["user"]
    (tmp_path / "out/job.json").write_text(json.dumps(job))
    found = tokenmill("verify", "out")
    assert found.returncode == 1
    assert "the mask of document 0 is not what its conversation says" in found.stdout + found.stderr


def test_prompts_and_responses_with_special_tokens_parsed(tokenmill: Run, asked: list[object], tmp_path: Path) -> None:
    lines = [{"q": f"Number {n}?", "a": {"text": "One<|im_end|>" if n else "Two"}} for n in range(20)]
    (tmp_path / "talks.jsonl").write_text("\n".join(map(json.dumps, lines)))
    fields = ["--prompt-field", "q", "--response-field", "a.text", "--special-tokens", "parse", "--eos-token", "<|endoftext|>"]
    done = tokenmill("run", *asked, *fields, "--output", "out")
    assert done.returncode == 0, done.stderr
    dataset = TokenDataset(str(tmp_path / "out"))
    shard, oracle = dataset.opened(0), dataset.tokenizer()
    assert dataset.manifest.documents == 20
    ids, mask = shard.reader[1], shard.mask[shard.starts[1] : shard.starts[2]]
    end, last = oracle.token_to_id("<|im_end|>"), oracle.token_to_id("<|endoftext|>")
    assert (ids == end).sum() == 3
    assert ids[-1] == last
    assert mask[-1] == 0  # as the newline before it
    assert np.array_equal(mask[ids == end], [0, 1, 1])


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--special-tokens", "text"], "a special token's string becomes that token"),
        (["--text-field", "x"], "--chat and --text-field or --text-template contradict each other"),
        (["--prompt-field", "x"], "--prompt-field and --response-field go together"),
        (["talks.csv"], "talks.csv holds no records with messages. Give .jsonl, .json, .parquet or .arrow."),
    ],
)
def test_what_cannot_be_a_job(more: list[object], says: str, tokenmill: Run, asked: list[object], tmp_path: Path) -> None:
    (tmp_path / "talks.csv").write_text("messages\n[]\n")
    refused = tokenmill("run", *more, *asked, "--output", "out")
    assert refused.returncode == 2
    assert says in " ".join(refused.stderr.split())
    assert not (tmp_path / "out").exists()


def test_packed_conversations_keep_their_marks(tokenmill: Run, asked: list[object], tmp_path: Path) -> None:
    """Whatever is done to ids on their way, shuffled, cut where rows end, split by a field, is done to their marks."""
    oracle = tokenizers.Tokenizer.from_file(str(tmp_path / "t/tokenizer.json"))
    lines = [json.loads(line) for line in (tmp_path / "talks.jsonl").read_text().splitlines()]
    marked = [{**line, "even": number % 2 == 0} for number, line in enumerate(lines)]
    (tmp_path / "talks.jsonl").write_text("\n".join(map(json.dumps, marked)) + "\n")
    more = ["--shuffle", 5, "--pack", 100, "--pad-token", "<|endoftext|>", "--partition-by", "even"]
    done = tokenmill("run", *asked, *more, "--output", "out")
    assert done.returncode == 0, done.stderr
    for value, rest in (("true", 0), ("false", 1)):
        dataset = TokenDataset(str(tmp_path / f"out/partitions/even={value}"))
        opened = [dataset.opened(position) for position in range(len(dataset.manifest.shards))]
        found = [
            list(zip(shard.reader[n].tolist(), shard.mask_of(n).tolist(), strict=True))
            for shard in opened
            for n in range(len(shard.reader))
        ]
        assert sorted(found) == sorted(plainly(oracle, messages) for messages in GOOD[rest::2])
        wanted = sum(mark for document in found for _, mark in document)
        masks = [shard.mask for shard in opened if shard.mask is not None]
        assert sum(int(mask.sum()) for mask in masks) == wanted  # padding has none
        assert sum(map(len, masks)) == 100 * dataset.manifest.sequences
        assert dataset.manifest.tokens_padding > 0
        rows = dataset.sequences(100)
        targets = sum(int((rows[n]["targets"] >= 0).sum()) for n in range(len(rows)))
        assert wanted - len(rows) <= targets <= wanted  # the first token of a row is nobody's target
    verified = tokenmill("verify", "out", "--full", "--json")
    assert json.loads(verified.stdout)["compared"] == len(GOOD), verified.stdout
