"""Conversations: the text, the ids and the mask that transformers' own `apply_chat_template` gives."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.chatml import CHATML, UNMARKED, talk
from tests.conformance.test_readers import spec
from tokenmill import documents
from tokenmill.chat import Conversations, Unfit, settled
from tokenmill.documents import Reason
from tokenmill.engines import LEARNED, Encoder
from tokenmill.errors import BatchError, UsageError
from tokenmill.job import Cut, Span
from tokenmill.masks import unlearnable
from tokenmill.spec import Chat
from tokenmill.tokenizers import Model

WORDS = st.text(st.sampled_from("ab \n\té你🦥<|/>\u0301"), max_size=30)
TALKS = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3).map(lambda pairs: talk(*(t for pair in pairs for t in pair)))
TOOL = {"type": "function", "function": {"name": "find", "description": "Sucht <&> Ünïcode", "parameters": {"type": "object"}}}


class Both:
    """A tokenizer as transformers has it, and as we have it."""

    def __init__(self, folder: Path) -> None:
        from transformers import PreTrainedTokenizerFast

        self.model = Model((folder / "tokenizer.json").read_bytes(), "t")
        self.config = json.loads((folder / "chat/tokenizer_config.json").read_text())
        named = {name: self.config[name] for name in ("bos_token", "eos_token", "pad_token") if self.config.get(name)}
        self.theirs = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **named)
        self.theirs.chat_template = self.config["chat_template"]
        self.ours = Encoder(self.model, spec(chat=self.chat(template=CHATML), eos_token=None), "reference")

    def chat(self, learn_from: tuple[str, ...] = (), template: str | None = None) -> Chat:
        return settled(
            "t",
            None,
            self.config,
            template=template or self.theirs.chat_template,
            today=None,
            learn_from=learn_from,
            fields=("messages",),
        )


@pytest.fixture(scope="module")
def qwen(tokenizer_path: Callable[[str], Path]) -> Both:
    return Both(tokenizer_path("qwen3"))


@pytest.fixture(scope="module")
def llama(tokenizer_path: Callable[[str], Path]) -> Both:
    return Both(tokenizer_path("llama3"))


@pytest.mark.parametrize("family", ["qwen", "llama"])
def test_real_templates_write_what_transformers_writes(family: str, request: pytest.FixtureRequest) -> None:
    """White space, tools, tool calls, reasoning by its other names, keys without a value."""
    both = request.getfixturevalue(family)
    # the header that this Llama writes behind everything is of no consequence where the template is asked for text alone
    chat = Chat(template=both.theirs.chat_template, tokens=both.chat(template=UNMARKED).tokens, fields=("messages",))
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "find", "arguments": {"q": "é"}}}]}
    talks: list[tuple[list[dict[str, Any]], Any]] = [
        (talk(" Hi \n", "Hello"), None),
        ([{"role": "system", "content": "Be brief."}, *talk("a", "b", "c", "<think>\nhm\n</think>\n\nd")], None),
        ([{**turn, "name": None} for turn in talk("a", "b")], [TOOL]),
        (
            [*talk("a"), call, {"role": "tool", "content": "42"}, {"role": "assistant", "content": "x", "reasoning": "y"}],
            [TOOL],
        ),
        (talk("a", "b"), []),
    ]
    for messages, tools in talks:
        expected = both.theirs.apply_chat_template(messages, tools=tools, tokenize=False)
        assert Conversations(chat).of(messages, tools, None).text == expected


@settings(max_examples=150, deadline=None)
@given(messages=TALKS)
def test_ids_and_masks_are_those_of_transformers(qwen: Both, messages: list[dict[str, str]]) -> None:
    found = Conversations(qwen.chat(template=CHATML)).of(messages, None, None)
    theirs = qwen.theirs.apply_chat_template(
        messages, chat_template=CHATML, return_dict=True, return_assistant_tokens_mask=True, tokenize=True
    )
    tokens = encoded(qwen, found.text, found.learned)
    assert (tokens & ~LEARNED).tolist() == theirs["input_ids"]
    assert (tokens >= LEARNED).astype(int).tolist() == theirs["assistant_masks"]


def test_where_offsets_leave_white_space_out(llama: Both) -> None:
    """Llama's post-processor takes the white space off a token's place; a mask is still that of transformers."""
    template = "{% for m in messages %}<|eot_id|>{% generation %}{{ m.content }}{% endgeneration %}\n\n{% endfor %}"
    for contents in (["  a b \n\n", " c"], ["🦥🦥"], ["\n", " \t", "x"]):
        found = Conversations(llama.chat(template=template)).of(talk(*contents), None, None)
        asked = {"chat_template": template, "return_dict": True, "return_assistant_tokens_mask": True, "tokenize": True}
        theirs = llama.theirs.apply_chat_template(talk(*contents), **asked)
        tokens = encoded(llama, found.text, found.learned)
        assert (tokens & ~LEARNED).tolist() == theirs["input_ids"]
        assert (tokens >= LEARNED).astype(int).tolist() == theirs["assistant_masks"]


def test_a_long_conversation_is_masked_as_a_whole(qwen: Both) -> None:
    """It is cut for the reference, and no mark may slip by that."""
    messages = talk("Say it. " * 50_000, "word 🦥 " * 60_000, "More?", "no " * 10)
    found = Conversations(qwen.chat(template=CHATML)).of(messages, None, None)
    theirs = qwen.theirs.apply_chat_template(
        messages, chat_template=CHATML, return_dict=True, return_assistant_tokens_mask=True, tokenize=True
    )
    tokens = encoded(qwen, found.text, found.learned)
    assert np.array_equal(tokens & ~LEARNED, np.array(theirs["input_ids"], np.uint32))
    assert np.array_equal(tokens >= LEARNED, np.array(theirs["assistant_masks"], bool))


@settings(max_examples=100, deadline=None)
@given(messages=TALKS)
def test_roles_name_the_turns_of_an_unmarked_template(qwen: Both, messages: list[dict[str, str]]) -> None:
    """An assistant's turn is what it said and how the template ends it, without the header that asked for it."""
    found = Conversations(qwen.chat(template=UNMARKED)).of(messages, None, None)
    spans = zip(found.learned[::2], found.learned[1::2], strict=True)
    assert [found.text[start:stop] for start, stop in spans] == [f"{turn['content']}<|im_end|>\n" for turn in messages[1::2]]


def test_turns_that_cannot_be_told_apart_are_refused(qwen: Both) -> None:
    """Qwen3 writes an earlier answer otherwise than the last one: which text was whose is then not to be said."""
    chat = qwen.chat()
    assert chat.learn_from == ("assistant",)
    one = Conversations(chat).of(talk("a", "b"), None, None)
    assert one.text[one.learned[0] : one.learned[1]] == "<think>\n\n</think>\n\nb<|im_end|>\n"
    with pytest.raises(Unfit) as refused:
        Conversations(chat).of(talk("a", "b", "c", "d"), None, None)
    assert refused.value.why == "turns_unclear"


def test_templates_that_cannot_be_used(qwen: Both, llama: Both) -> None:
    with pytest.raises(UsageError, match="one more answer behind every conversation"):
        llama.chat()
    dated = "{{ strftime_now('%d %B %Y') }}" + CHATML
    with pytest.raises(UsageError, match="--chat-date YYYY-MM-DD"):
        qwen.chat(template=dated)
    asked: dict[str, Any] = {"template": dated, "learn_from": (), "fields": ("messages",)}
    chat = settled("t", None, {}, today="2026-11-24", **asked)
    assert Conversations(chat).of(talk("a", "b"), None, None).text.startswith("24 November 2026<|im_start|>")
    with pytest.raises(UsageError, match=r"--chat-date 24[.]11[.] is no date"):
        settled("t", None, {}, today="24.11.", **asked)
    for broken in ("{% for %}", "{{ messages | random }}"):
        with pytest.raises(UsageError, match="the chat template cannot be used: line 1"):
            qwen.chat(template=broken)
    with pytest.raises(UsageError, match="has no chat template"):
        settled("t", None, {}, today=None, template=None, learn_from=(), fields=("messages",))
    sandboxed = Chat(template="{{ messages.append(1) }}{{ ''.__class__.__mro__ }}", fields=("messages",))
    with pytest.raises(Unfit):
        Conversations(sandboxed).of(talk("a"), None, None)


ROWS: list[dict[str, Any]] = [
    {"messages": talk("a", "b"), "id": "x"},
    {"messages": None, "id": "null"},
    {"messages": [], "id": "none"},
    {"messages": talk("a", "é🦥", "c", "d"), "id": "y"},
    {"messages": [{"role": None, "content": "?"}], "id": "role"},
]


@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet", "arrow"])
def test_every_format_with_records(suffix: str, tmp_path: Path) -> None:
    path, table = tmp_path / f"c.{suffix}", pa.Table.from_pylist(ROWS)
    if suffix == "parquet":
        pq.write_table(table, path)
    elif suffix == "arrow":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        path.write_text("\n".join(map(json.dumps, ROWS)))
    chat = Chat(template=CHATML, fields=("messages",))
    size = path.stat().st_size
    span = Span(url=str(path), cut=Cut.WHOLE, start=0, stop=size, bytes=size, size=size, mark="")
    found = list(documents.read(span, spec(chat=chat, id_field="id")))
    texts = [text for part in found for text in part.text.to_pylist()]
    assert texts == [Conversations(chat).of(row["messages"], None, None).text for row in (ROWS[0], ROWS[3])]
    spans = [spans for part in found if part.conversations for spans in part.conversations["learned"].to_pylist()]
    assert [text[start[0] : start[1]] for text, start in zip(texts, spans, strict=True)] == ["b<|im_end|>", "é🦥<|im_end|>"]
    refused = {rejection.id: rejection.reason for part in found for rejection in part.rejected}
    expected = {"null": Reason.NULL_TEXT, "none": Reason.NOT_MESSAGES, "role": Reason.TEMPLATE_ERROR}
    assert refused == expected
    if suffix in ("parquet", "arrow"):
        with pytest.raises(BatchError, match=r"not lists of messages[.] Name another with --messages-field"):
            list(documents.read(span, spec(chat=Chat(template=CHATML, fields=("id",)))))


def test_a_mask_of_nothing_but_zeros_or_ones_is_seen(qwen: Both) -> None:
    """Whatever stands around the conversation."""
    texts = pa.array(["ab cd", "ab cd", "ab cd"], pa.large_string())
    learned = pa.array([[], [0, 5], [0, 1]], pa.large_list(pa.int64()))
    for bos in (None, "<|im_start|>"):
        chat = spec(chat=Chat(template="", fields=("m",)), bos_token=bos, eos_token="<|im_end|>")
        tokens = Encoder(qwen.model, chat, "reference").encode(texts, np.zeros(3, bool), learned)
        found = unlearnable(tokens, qwen.model.id_of(bos))
        assert found[Reason.NOTHING_LEARNED].tolist() == [True, False, False]
        assert found[Reason.ALL_LEARNED].tolist() == [False, True, False]


def encoded(both: Both, text: str, learned: list[int]) -> np.ndarray:
    spans = pa.array([learned], pa.large_list(pa.int64()))
    return both.ours.encode(pa.array([text], pa.large_string()), np.zeros(1, bool), spans).ids
