"""Whether a GPU's worker uses its GPU: granted like any engine, measured, given up when it fails; the CPU behind it.

The GPU is the processor with the real kernels (`host`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.conformance.test_engines import spec
from tests.cuda.host import HostDevice
from tokenmill.engines import GPU, REFERENCE, Encoder, choose, cuda, on_gpu, trusted
from tokenmill.engines.contract import Unavailable
from tokenmill.engines.cuda import engine as cuda_engine
from tokenmill.engines.cuda.device import Memory
from tokenmill.errors import UsageError
from tokenmill.job import EngineChoice
from tokenmill.tokenizers import Model, resolve

#: What the kernels do not vouch for: not in NFC, an added token; and what they do.
DOUBTFUL = ["e\u0301a", "a <tool_call> b"]
PLAIN = ["def f(x):\n\treturn x  # 12345", "中文字符和English混排。", "", "naïve café"]


class Nothing:
    """A stream, and a mark, of a device that only counts."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: Nothing()


@pytest.fixture(scope="module")
def model(tokenizer_path: Callable[[str], Path]) -> Model:
    return resolve(str(tokenizer_path("qwen3"))).model


@pytest.fixture(scope="module")
def folder(shared_cache: Path) -> Path:
    return shared_cache


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> HostDevice:
    """This process's GPU."""
    made = HostDevice(lazy=False)
    monkeypatch.setattr(cuda_engine, "open_device", lambda: made)
    monkeypatch.setattr(cuda, "why_not_here", lambda: None)
    monkeypatch.setattr(cuda, "describe", lambda: "the processor")
    return made


@pytest.fixture
def cpu(model: Model) -> Encoder:
    return Encoder(model, spec(), "fastokens")


def column(texts: list[str]) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def encoded(encoder: Encoder, texts: list[str]) -> list[list[int]]:
    text = column(texts)
    tokens = encoder.encode(text, encoder.holds_special(text))
    return [tokens.document(index).tolist() for index in range(len(tokens))]


def test_granted_and_asked_for_it_encodes_with_the_cpu_behind_it(
    device: HostDevice, cpu: Encoder, folder: Path, real_texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every code point in context, the adversarial pack; what it does not vouch for goes to the CPU, not to the reference."""
    gpu, reason = on_gpu(cpu, folder, column(real_texts[:10]), by_name=True)
    assert (gpu.name, reason, gpu.fallback, gpu.guard) == (GPU, "asked for", cpu, ())
    before, went = sum(device.launches.values()), list[int]()
    bare = cpu._bare

    def watched(text: pa.LargeStringArray, holds: Any) -> Any:
        went.append(len(text))
        return bare(text, holds)

    monkeypatch.setattr(cpu, "_bare", watched)
    texts = [*real_texts, *DOUBTFUL, *PLAIN]
    assert encoded(gpu, texts) == encoded(cpu.reference, texts)
    assert sum(device.launches.values()) > before
    assert len(DOUBTFUL) <= sum(went) < len(texts) / 4


def test_the_quicker_one_is_taken(device: HostDevice, cpu: Encoder, folder: Path, real_texts: list[str]) -> None:
    """A processor that plays a GPU is slower than an engine made for it."""
    chosen, reason = on_gpu(cpu, folder, column(real_texts[:10]), by_name=False)
    assert chosen is cpu
    assert "MB/s on the GPU, " in reason


def test_a_gpu_that_fails_leaves_its_work_to_the_cpu(
    device: HostDevice, cpu: Encoder, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu, _ = on_gpu(cpu, folder, column(PLAIN), by_name=True)
    assert encoded(gpu, PLAIN) == encoded(cpu.reference, PLAIN)

    def falls_off_the_bus(*_: object) -> None:
        raise Unavailable("the GPU's driver says CUDA_ERROR_DEVICE_UNAVAILABLE")

    monkeypatch.setattr(device, "run", falls_off_the_bus)
    for _ in range(2):
        assert encoded(gpu, [*PLAIN, *DOUBTFUL]) == encoded(cpu.reference, [*PLAIN, *DOUBTFUL])
    assert gpu.lost == "the GPU's driver says CUDA_ERROR_DEVICE_UNAVAILABLE"
    assert caplog.text.count("no longer used here") == 1


def test_a_wrong_id_on_the_jobs_own_text_is_noticed(
    device: HostDevice, cpu: Encoder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate was granted; this GPU has gone bad since."""
    on_gpu(cpu, folder, column(PLAIN), by_name=True)
    encode = cuda_engine.CudaEngine.encode

    def wrong(self: cuda_engine.CudaEngine, text: pa.LargeStringArray) -> Any:
        found = encode(self, text)
        found.ids[:1] ^= np.uint32(1)
        return found

    monkeypatch.setattr(cuda_engine.CudaEngine, "encode", wrong)
    chosen, reason = on_gpu(cpu, folder, column(PLAIN), by_name=True)
    assert chosen is cpu
    assert "differs from the reference on the job's own text" in reason


def test_without_a_gpu_the_cpu_does_it_and_says_why(cpu: Encoder, folder: Path) -> None:
    if cuda.why_not_here() is None:
        pytest.skip("there is a GPU here")
    chosen, reason = on_gpu(cpu, folder, column(PLAIN), by_name=True)
    assert chosen is cpu
    assert reason == "there is no NVIDIA driver here (no libcuda.so.1)"


def test_asked_for_by_name_it_is_checked_for_the_tokenizer_alone(
    model: Model, folder: Path, tokenizer_path: Callable[[str], Path]
) -> None:
    """The producer has no GPU: who has one proves it."""
    chosen = choose(model, spec(), GPU, lambda: column(PLAIN), folder, 1)
    assert isinstance(chosen, EngineChoice)
    assert (chosen.name, chosen.by_name, chosen.version) == (GPU, True, cuda.version())
    here = trusted(model, spec(), GPU, folder)
    assert here.name not in (GPU, REFERENCE)
    bert = resolve(str(tokenizer_path("bert"))).model
    with pytest.raises(UsageError, match=r"--engine cuda cannot be used: .*WordPiece"):
        choose(bert, spec(), GPU, lambda: column(PLAIN), folder, 1)


@pytest.mark.parametrize("gigabytes", ["0.2", "0.5", "80"])
def test_a_gpus_memory_is_bounded_by_the_users_word(model: Model, gigabytes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENMILL_GPU_GB", gigabytes)
    made = HostDevice(lazy=False)
    monkeypatch.setattr(made, "pinned", lambda size: np.empty(size, np.uint8))
    allocated: list[int] = []
    monkeypatch.setattr(made, "allocate", lambda size: allocated.append(size) or Memory(0, size))
    monkeypatch.setattr(made, "run", lambda *_: None)
    monkeypatch.setattr(made, "stream", lambda: Nothing())
    cuda_engine.CudaEngine(model, device=lambda: made)
    assert sum(allocated) <= min(float(gigabytes) * 1e9, 6e9)
    assert sum(allocated) > min(float(gigabytes), 5) * 0.85e9


def test_too_little_memory_is_said(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENMILL_GPU_GB", "0.1")
    with pytest.raises(Unavailable, match=r"TOKENMILL_GPU_GB is 0\.1; the engine needs 0\.1\d at least"):
        cuda_engine.CudaEngine(model, device=HostDevice)
