"""Law 1 on a device: the whole engine over the kernels as they stand, run by the processor, gives the reference's ids."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cuda.host import HostDevice
from tokenmill.engines import Encoder, Tokens
from tokenmill.engines.certify import prove
from tokenmill.engines.cuda import CudaEngine, engine
from tokenmill.engines.cuda.families import cutting_of
from tokenmill.spec import JobSpec
from tokenmill.tokenizers import Model, probes, token_probes

FAMILIES = ("gpt2", "cl100k", "gpt4", "llama3", "qwen3", "qwen", "gptoss", "deepseek")
#: Small, so that a few texts make many batches; a document of more is not encoded by the device.
BATCH_BYTES = 24_000


@dataclass(frozen=True)
class Subject:
    """A tokenizer, and the engine on a device that does nothing before it must."""

    model: Model

    @cached_property
    def oracle(self) -> tokenizers.Tokenizer:
        tokenizer = self.model.reference()
        tokenizer.encode_special_tokens = True
        return tokenizer

    @cached_property
    def engine(self) -> CudaEngine:
        return self.fresh(HostDevice)

    def fresh(self, device: Callable[[], HostDevice], batch_bytes: int = BATCH_BYTES, entries: int = 1 << 12) -> CudaEngine:
        return CudaEngine(self.model, device=device, batch_bytes=batch_bytes, entries=entries)

    def check(self, texts: list[str], encoder: CudaEngine | None = None) -> np.ndarray:
        """Compare all documents that the engine vouches for; returns which it does not."""
        tokens = (encoder or self.engine).encode(column(texts))
        assert len(tokens) == len(texts)
        assert (tokens.ids.dtype, tokens.offsets.dtype) == (np.uint32, np.int64)
        assert tokens.unsure is not None
        expected = [found.ids for found in self.oracle.encode_batch_fast(texts, add_special_tokens=False)]
        wrong = [texts[i][:80] for i in np.flatnonzero(~tokens.unsure) if tokens.document(i).tolist() != expected[i]]
        assert wrong == []
        return tokens.unsure


def column(texts: list[str]) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


@pytest.fixture(scope="module", params=FAMILIES)
def subject(request: pytest.FixtureRequest, model_of: Callable[[str], Model]) -> Subject:
    return Subject(model_of(request.param))


@pytest.fixture(scope="module")
def gpt2(model_of: Callable[[str], Model]) -> Subject:
    return Subject(model_of("gpt2"))


@pytest.fixture(scope="module")
def pieces(real_texts: list[str]) -> list[str]:
    """Real text in documents that fit into a batch, and some that are empty."""
    cut = [text[at : at + 6000] for text in real_texts[::2] for at in range(0, min(len(text), 12_000), 6000)]
    return [text for piece in cut for text in (piece, "")]


def test_same_ids_on_real_and_on_adversarial_text(subject: Subject, pieces: list[str]) -> None:
    for _ in ("cold", "warm"):
        unsure = subject.check(pieces)
        assert unsure.mean() < 0.06, [pieces[i][:60] for i in np.flatnonzero(unsure)]
    adversarial = [*probes(), *token_probes(subject.model)]
    assert subject.check(adversarial).mean() < 0.75


@pytest.mark.parametrize("family", ["cl100k", "qwen3"])
def test_it_is_granted(family: str, model_of: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every code point in context, and the adversarial pack, as `test_gpu` has them done on a real one."""
    monkeypatch.setattr(engine, "open_device", HostDevice)
    proof = prove(model_of(family), "cuda")
    assert (proof.refusal, proof.guard) == (None, ())


def test_same_ids_on_generated_text(subject: Subject) -> None:
    cutting = cutting_of(subject.model)
    assert not isinstance(cutting, str)
    ours = [token["content"] for token in subject.model.added_tokens[:20]]
    parts = st.one_of(
        st.text(st.characters(codec="utf-8")),
        st.sampled_from(
            [" ", "\n", "'s", "<|", "|>", "ab", "12", "\r\n", "\u0323", "\u200d", "\u017f", "中文", "a" * 20, *ours]
        ),
    )

    @settings(max_examples=40, deadline=None)
    @given(texts=st.lists(st.lists(parts, max_size=12).map("".join), min_size=1, max_size=6))
    def check(texts: list[str]) -> None:
        unsure = subject.check(texts)
        if not cutting.normalized:  # no word is too long, so there is one reason not to be sure
            assert unsure.tolist() == [any(token in text for token in cutting.added) for text in texts]

    check()


@pytest.mark.parametrize("letter", ["a", "=", "é"])
def test_words_at_the_lengths_where_another_kernel_takes_over(subject: Subject, letter: str) -> None:
    width = len(letter.encode())
    sizes = [15, 16, 17, 63, 64, 65, 66, 255, 256, 257, 258, 1000]
    texts = [letter * (size // width) for size in sizes] + ["the end"]
    unsure = subject.check(texts)
    longest = [len(text.encode()) for text in texts]
    assert unsure.tolist() == [size > 256 for size in longest]


def test_devices_that_do_things_at_other_times_and_in_another_order_agree(gpt2: Subject, pieces: list[str]) -> None:
    texts = pieces[:80]
    reference = gpt2.engine.encode(column(texts))
    for options in ({"lazy": False}, {"reverse": True}, {"width": 32}, {"width": 1024, "lazy": False}):
        made: list[HostDevice] = []

        def device(options: dict[str, Any] = options, made: list[HostDevice] = made) -> HostDevice:
            made.append(HostDevice(**options))
            return made[0]

        engine = gpt2.fresh(device)
        for _ in range(2):
            found = engine.encode(column(texts))
            assert found.first_difference(reference) is None
            assert found.unsure is not None
            assert not found.unsure.any()
        assert made[0].launches["starts_gpt2"] >= 2 * 10  # many batches
        assert made[0].intact()


def test_documents_keep_their_places_whatever_the_batches(gpt2: Subject, pieces: list[str]) -> None:
    """Batches from a few bytes to all; of what does not fit into one, nothing else is said."""
    texts = ["", "one", "", "two two", "x" * 300, "", *(text[:200] for text in pieces[:60]), "", ""]
    for batch_bytes in (1, 7, 64, 199, 1000, 100_000):
        unsure = gpt2.check(texts, gpt2.fresh(HostDevice, batch_bytes))
        sizes = [len(text.encode()) for text in texts]
        assert unsure.tolist() == [size > batch_bytes or text == "x" * 300 for text, size in zip(texts, sizes, strict=True)]


def test_columns_that_begin_somewhere_or_hold_nothing(gpt2: Subject) -> None:
    whole = column(["zero", "one two", "", "three", "four"])
    for begin, length in ((1, 3), (4, 1), (2, 1), (5, 0), (0, 5)):
        part = whole.slice(begin, length)
        found = gpt2.engine.encode(part)
        expected = [ids.ids for ids in gpt2.oracle.encode_batch_fast(part.to_pylist(), add_special_tokens=False)]
        assert [found.document(i).tolist() for i in range(len(found))] == expected
    for nothing in (column([]), pa.array([], pa.large_string()).slice(0, 0), column([""]), column([""] * 5000)):
        found = gpt2.engine.encode(nothing)
        assert found.offsets.tolist() == [0] * (len(nothing) + 1)
        assert found.unsure is not None
        assert not found.unsure.any()


def test_memory_is_what_was_said_and_is_taken_once(gpt2: Subject, pieces: list[str]) -> None:
    made: list[HostDevice] = []

    def device() -> HostDevice:
        made.append(HostDevice())
        return made[0]

    encoder = gpt2.fresh(device, 50_000)
    taken, said = made[0].allocated, CudaEngine.memory(50_000, 1 << 12)
    assert said < taken < said + (4 << 20)  # the tokenizer's own
    encoder.encode(column(pieces))
    encoder.encode(column(["a\x01" * 25_000]))  # a token for every byte: more than pinned memory holds
    assert made[0].allocated == taken
    assert made[0].intact()


def test_a_batch_is_on_its_way_before_the_one_before_it_is_waited_for(gpt2: Subject, pieces: list[str]) -> None:
    told: list[str] = []

    class Told(HostDevice):
        def run(self, kernel: str, threads: int, arguments: tuple[Any, ...]) -> None:
            told.append(kernel)
            super().run(kernel, threads, arguments)

    encoder = gpt2.fresh(Told)  # a lazy one: a kernel runs when somebody waits for it
    send, fetch = engine.Passage.send, engine.Passage.fetch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.Passage, "send", lambda *given: (told.append("send"), send(*given)))
        patch.setattr(engine.Passage, "fetch", lambda *given: (told.append("fetch"), fetch(*given)))
        encoder.encode(column(pieces))
    steps = [step for step in told if step in ("send", "fetch", "starts_gpt2")]
    batches = steps.count("send")
    assert batches > 10
    assert steps == ["send", *["send", "fetch", "starts_gpt2"] * (batches - 1), "fetch", "starts_gpt2"]


@pytest.mark.parametrize("family", ["gpt2", "qwen3"])
def test_what_the_engine_leaves_is_spliced_in(
    family: str, model_of: Callable[[str], Model], pieces: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the encoder, as a job uses it: every document has the reference's ids."""
    subject = Subject(model_of(family))
    monkeypatch.setattr(engine, "open_device", HostDevice)
    fixed = {"sources": (), "tokenizer": "t", "eos_token": None, "bos_token": None, "dtype": "int32", "batch_bytes": 1}
    encoder = Encoder(subject.model, JobSpec(**fixed, max_document_bytes=1), "cuda")
    monkeypatch.setitem(engine.CudaEngine.__init__.__kwdefaults__, "batch_bytes", BATCH_BYTES)
    texts = [*pieces[:40], "a" * 300, *probes(), *token_probes(subject.model), "中" * 30_000, "end"]
    found: Tokens = encoder.encode(column(texts), encoder.holds_special(column(texts)))
    expected = [ids.ids for ids in subject.oracle.encode_batch_fast(texts, add_special_tokens=False)]
    assert [text[:60] for i, text in enumerate(texts) if found.document(i).tolist() != expected[i]] == []


@pytest.mark.parametrize(("family", "reason"), [("bert", "WordPiece"), ("mistral", ""), ("mon", ""), ("unigram", "Unigram")])
def test_other_tokenizers_are_refused_with_a_reason(family: str, reason: str, model_of: Callable[[str], Model]) -> None:
    said = CudaEngine.supports(model_of(family))
    assert said
    assert reason in said
