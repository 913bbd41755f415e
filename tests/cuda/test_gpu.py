"""A real GPU, where there is one: the same kernels, the same ids, and what only threads at once can get wrong.

    compute-sanitizer --tool racecheck python -m pytest -n 0 tests/cuda/test_gpu.py

and `memcheck`, `initcheck`, `synccheck` likewise; `benchmarks/gpu.py` measures.
"""

from collections.abc import Callable

import pyarrow as pa
import pytest

from tests.cuda.test_facts import asked_of, check, real  # noqa: F401  # a fixture
from tokenmill.engines.certify import prove
from tokenmill.engines.cuda import CudaEngine, why_not_here
from tokenmill.engines.cuda.engine import open_device
from tokenmill.engines.reference import ReferenceEngine
from tokenmill.facts.device import OnDevice
from tokenmill.facts.texts import Texts
from tokenmill.tokenizers import Model

pytestmark = pytest.mark.skipif(why_not_here() is not None, reason=f"needs a GPU: {why_not_here()}")

FAMILIES = ["gpt2", "cl100k", "gpt4", "llama3", "qwen3", "gptoss", "deepseek"]


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest, model_of: Callable[[str], Model]) -> Model:
    return model_of(request.param)


def test_it_is_granted(model: Model) -> None:
    """Every code point in context, and the adversarial pack."""
    proof = prove(model, "cuda")
    assert (proof.refusal, proof.guard) == (None, ())


@pytest.mark.parametrize("batch_bytes", [1 << 12, 1 << 16, 32 << 20])
def test_the_same_ids_whatever_the_batches(model: Model, batch_bytes: int, real_texts: list[str]) -> None:
    """The text ten times over: the table of words is cold, fills, and is full of what the threads raced to put there."""
    text = pa.array(real_texts, pa.large_string())
    right = ReferenceEngine(model).encode(text)
    engine = CudaEngine(model, batch_bytes=batch_bytes, entries=1 << 14)
    for _ in range(10):
        found = engine.encode(text)
        assert found.unsure is not None
        assert found.only(~found.unsure).first_difference(right.only(~found.unsure)) is None
    assert batch_bytes < 1 << 20 or found.unsure.mean() < 0.2


@pytest.mark.parametrize("tokens", [9000, 1 << 21])
@pytest.mark.parametrize("size", [1, 128, 4096])
def test_the_same_facts_whatever_the_passes(real: Texts, tokens: int, size: int) -> None:  # noqa: F811
    """Ten times over, on memory that holds what the time before left there."""
    arithmetic = OnDevice(open_device(), asked_of(real, size), tokens)
    for _ in range(10):
        check(arithmetic, real)
