"""Which GPUs there are and which are meant, with NVML stood in for; and on the real one where there is one."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpus import STAND_IN, Host, gpu, instance
from tokenmill import devices
from tokenmill.errors import UsageError


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host whose GPUs are a file."""
    monkeypatch.syspath_prepend(STAND_IN)
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    devices._session.cache_clear()
    monkeypatch.setenv("NVML_STAND_IN", str(tmp_path / "gpus.json"))
    yield Host(tmp_path)
    devices._session.cache_clear()
    sys.modules.pop("pynvml", None)


TWO = (gpu("a"), gpu("b"))
CUT = (gpu("a", instances=[None, instance("c"), instance("d")]), gpu("b"))


def indexes(gpus: object) -> list[str]:
    return [one.index for one in gpus]


def test_gpus_and_instances_are_listed_alike(host: Host) -> None:
    """A GPU that is cut is none itself; numbers of instances may have gaps."""
    host.has(*CUT)
    found = devices.find(None)
    assert found.troubles == ()
    assert indexes(found.gpus) == ["0:1", "0:2", "1"]
    assert [one.is_mig for one in found.gpus] == [True, True, False]
    assert [one.memory_bytes for one in found.gpus] == [40_000_000_000, 40_000_000_000, 80_000_000_000]
    assert str(found.gpus[2]) == "1 NVIDIA H100 80GB HBM3, 80 GB, GPU-bbbbbbbb-0000"


def test_what_cannot_be_used_is_said(host: Host) -> None:
    host.has(gpu("a", error=15), gpu("b", instances=[]), gpu("c"))
    found = devices.find(None)
    assert indexes(found.gpus) == ["2"]
    assert found.troubles == ("GPU 0: GPU is lost", "GPU 1 is to be cut by MIG and has no instances")


def test_without_a_driver_there_are_none_and_a_reason(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NVML_STAND_IN")
    found = devices.find("0")
    assert (found.gpus, found.why_none) == ((), "there is no NVIDIA driver here (no libnvidia-ml.so.1)")
    assert devices.choose(found, "all") == ()
    with pytest.raises(
        UsageError, match=r"--gpus 0: there is no GPU for this process: there is no NVIDIA driver .* --gpus none"
    ):
        devices.choose(found, "0")


@pytest.mark.parametrize(
    ("visible", "left"),
    [
        (None, ["0:1", "0:2", "1"]),
        ("", []),
        ("-1", []),
        ("GPU-bbbbbbbb-0000", ["1"]),
        ("MIG-d, GPU-b", ["0:2", "1"]),
    ],
)
def test_cuda_visible_devices_is_respected(host: Host, visible: str | None, left: list[str]) -> None:
    host.has(*CUT)
    found = devices.find(visible)
    assert indexes(found.gpus) == left
    assert bool(found.troubles) == (visible is not None)


def test_numbers_in_cuda_visible_devices_are_taken_where_all_gpus_are_alike(host: Host) -> None:
    host.has(*TWO)
    assert indexes(devices.find("1").gpus) == ["1"]
    host.has(gpu("a"), gpu("b", name="NVIDIA L4"))
    with pytest.raises(UsageError, match=r"CUDA counts them in another order than nvidia-smi\. Give UUIDs"):
        devices.find("1")


@pytest.mark.parametrize("visible", ["2", "GPU-c", "0,two", "GPU-", "0,,1"])
def test_a_wrong_cuda_visible_devices_is_an_error(host: Host, visible: str) -> None:
    """CUDA itself hides the wrong name and all after it without a word."""
    host.has(*TWO)
    with pytest.raises(
        UsageError, match=rf"CUDA_VISIBLE_DEVICES={visible}: .* There are: 0 NVIDIA H100 80GB HBM3, 80 GB, GPU-a"
    ):
        devices.find(visible)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("all", ["0:1", "0:2", "1"]),
        ("none", []),
        ("1", ["1"]),
        ("0", ["0:1", "0:2"]),
        ("1,0:2,1", ["0:2", "1"]),
        ("MIG-cccccccc-0000", ["0:1"]),
    ],
)
def test_a_choice(host: Host, wanted: str, chosen: list[str]) -> None:
    host.has(*CUT)
    assert indexes(devices.choose(devices.find(None), wanted)) == chosen


@pytest.mark.parametrize("wanted", ["7", "0:7", "", "some", "MIG-", "0 1"])
def test_a_wrong_choice_is_an_error_that_lists_what_is_there(host: Host, wanted: str) -> None:
    host.has(*CUT)
    with pytest.raises(UsageError, match=rf"--gpus {wanted}: .* There are: 0:1 .*; 0:2 .*; 1 NVIDIA"):
        devices.choose(devices.find(None), wanted)


def test_a_gpu_that_is_gone_is_known(host: Host) -> None:
    """By NVML's word, by its absence; but not by the silence of NVML as a whole."""
    host.has(*CUT)
    gpus = devices.find(None).gpus
    assert devices.lost(gpus) == set()
    host.has(CUT[0], gpu("b", error=15))
    assert devices.lost(gpus) == {gpus[2]}
    host.has(gpu("a", instances=[None, instance("c")]))
    assert devices.lost(gpus) == set(gpus[1:])
    host.file.write_text("999")
    assert devices.lost(gpus) == set()
    assert devices.readings(gpus) == {}


def test_what_a_gpu_does_now(host: Host) -> None:
    host.has(gpu("a", used=3_000_000, busy=40), gpu("b", instances=[instance("c")]), gpu("d"))
    gpus = devices.find(None).gpus
    first, part = devices.Reading(memory_bytes=3_000_000, utilization=0.4), devices.Reading(memory_bytes=0, utilization=None)
    assert devices.readings(gpus[:2]) == {gpus[0]: first, gpus[1]: part}


#: Prints the UUIDs of all GPUs; without one it says why and fails.
ASK = """
from tokenmill import devices
found = devices.find(None)
print(*[gpu.uuid for gpu in found.gpus] or [found.why_none])
assert found.gpus
"""


def test_the_real_thing() -> None:
    """On a host with a GPU what we find is what nvidia-smi lists; elsewhere this says why not."""
    asked = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True)
    if asked.returncode:
        assert "NVIDIA driver" in asked.stdout, asked.stderr
        pytest.skip(f"needs a GPU: {asked.stdout.strip()}")
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    assert all(uuid in listed for uuid in asked.stdout.split())
