"""A long document is cut for the reference only where the cut changes no id, and then takes little memory."""

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmill.engines.reference import CALL_BYTES, ReferenceEngine
from tokenmill.engines.seams import seam
from tokenmill.tokenizers import Model, probes, resolve

FAMILIES = ("qwen3", "llama3", "cl100k", "gptoss", "deepseek", "gpt2", "qwen", "bert", "mon", "unigram")


@pytest.fixture(scope="module", params=FAMILIES)
def tokenizer(request: pytest.FixtureRequest, tokenizer_path: Callable[[str], Path]) -> tuple[Model, tokenizers.Tokenizer]:
    model = resolve(str(tokenizer_path(request.param))).model
    return model, model.reference()


def ids(tokenizer: tokenizers.Tokenizer, texts: list[str]) -> list[int]:
    return [number for part in tokenizer.encode_batch_fast(texts, add_special_tokens=False) for number in part.ids]


@pytest.mark.parametrize("parse", [False, True])
def test_a_text_cut_at_every_seam_has_the_ids_of_the_whole(
    tokenizer: tuple[Model, tokenizers.Tokenizer], parse: bool, real_texts: list[str]
) -> None:
    model, reference = tokenizer
    reference.encode_special_tokens = not parse
    found = seam(model, reference)
    assert found is not None
    special = [token["content"] for token in model.added_tokens[:40]]
    in_context = [f"one {token} two{token}three\n{token}four five {token}\nsix" for token in special]
    seams = 0
    for text in [*real_texts[:: 16 if parse else 8], *probes(), *in_context]:
        cuts = [0, *(match.end() for match in found.finditer(text)), len(text)]
        parts = [text[begin:end] for begin, end in itertools.pairwise(cuts)]
        assert ids(reference, parts) == ids(reference, [text]), text[:80]
        seams += len(parts) - 1
    assert seams > 1_000

    pieces = st.sampled_from(
        [
            "a",
            "Ω",
            "я",
            "中",
            "か\u3099",
            "각",
            "각",
            " ",
            "\n",
            "\r\n",
            "\u00a0",
            "'s",
            ".",
            "7",
            "\u0301",
            "\u200d",
            "ſ",
            *special,
        ]
    )

    @settings(max_examples=60, deadline=None)
    @given(text=st.lists(st.one_of(pieces, st.text(max_size=2)), max_size=30).map("".join))
    def check(text: str) -> None:
        text = text.encode("utf-8", "ignore").decode()
        cuts = [0, *(match.end() for match in found.finditer(text)), len(text)]
        assert ids(reference, [text[a:b] for a, b in itertools.pairwise(cuts)]) == ids(reference, [text])

    check()


def test_long_documents_are_cut_and_come_back_as_one(
    tokenizer: tuple[Model, tokenizers.Tokenizer], real_texts: list[str]
) -> None:
    model, reference = tokenizer
    reference.encode_special_tokens = True
    long = "\n".join(real_texts)[: CALL_BYTES * 5 // 2]
    documents = ["first", long, "", long[1000:], "x" * (CALL_BYTES + 1)]
    engine = ReferenceEngine(model)
    assert len(engine._parts(long)) == 3
    assert engine._parts(documents[4]) == [documents[4]]  # no seam: whole
    found = engine.encode(pa.array(documents, pa.large_string()))
    assert [found.document(i).tolist() for i in range(5)] == [ids(reference, [document]) for document in documents]
    assert np.array_equal(engine.encode(pa.array([], pa.large_string())).offsets, [0])


def changed(model: Model, **parts: Any) -> Model:
    return Model(json.dumps({**json.loads(model.json), **parts}).encode(), "changed")


#: Looks back: "the" behind a letter and a space is a word, alone it is three.
SPLIT = {"type": "Split", "pattern": {"Regex": "(?<=[a-z] )the|."}, "behavior": "Isolated", "invert": False}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
TOKEN = {
    "id": 7,
    "content": "<x>",
    "single_word": False,
    "lstrip": False,
    "rstrip": False,
    "normalized": False,
    "special": False,
}


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [SPLIT, BYTE_LEVEL]}}, "ab the"),
        ({"pre_tokenizer": {**BYTE_LEVEL, "use_regex": True, "add_prefix_space": True}}, "ab\nthe"),
        ({"normalizer": {"type": "Replace", "pattern": {"String": "b t"}, "content": "q"}}, "ab the"),
        ({"normalizer": {"type": "Prepend", "prepend": "▁"}}, "ab the"),
        ({"normalizer": {"type": "Strip", "strip_left": True, "strip_right": False}}, "ab the"),
        ({"added_tokens": [{**TOKEN, "content": "b t"}]}, "ab the"),
        ({"added_tokens": [{**TOKEN, "content": "b", "rstrip": True}]}, "ab the"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, dict) else None,
)
def test_what_may_look_across_a_seam_has_none(parts: dict[str, Any], text: str, tokenizer_path: Callable[[str], Path]) -> None:
    """Each of these gives other ids when it is cut all the same."""
    usual = resolve(str(tokenizer_path("gpt2"))).model
    model = changed(usual, **parts)
    reference = model.reference()
    assert seam(model, reference) is None
    assert seam(usual, usual.reference()) is not None
    at = text.index("ab") + 2
    assert ids(reference, [text[:at], text[at:]]) != ids(reference, [text])


PEAK = """
import sys, pyarrow as pa
from tokenmill.engines.reference import ReferenceEngine
from tokenmill.tokenizers import resolve
def held(field):
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith(field))
engine = ReferenceEngine(resolve(sys.argv[1]).model)
line = "".join(chr(97 + i * i % 26) + " " * (i % 5 == 4) for i in range(97)) + "\\n"
text = pa.array([line * ((4 << 20) // len(line))], pa.large_string())
engine.encode(pa.array(["warm"], pa.large_string()))
before = held("VmRSS")
engine.encode(text)
print((held("VmHWM") - before) / text.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_document_of_megabytes_takes_little_memory(tokenizer_path: Callable[[str], Path]) -> None:
    """Whole, it takes more than 100 bytes for each of its own."""
    command = [sys.executable, "-c", PEAK, str(tokenizer_path("gpt2"))]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert float(said) < 35
