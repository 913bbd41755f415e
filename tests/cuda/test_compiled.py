"""What the kernels become on a GPU, seen from a machine without one: NVRTC takes them, and they stay within their budget."""

import os
import re
from pathlib import Path

import pytest

from tokenmill.engines.contract import Unavailable
from tokenmill.engines.cuda.compiled import SOURCES, Compiled, compiled

#: Of a thread; 64 leave half of a multiprocessor's threads resident.
REGISTERS = 64
#: Bytes of a thread's own memory: 64 symbols and their ranks.
STACK = {"merge_short": 2 * 4 * 64}
REPORT = re.compile(
    r"entry function '(\w+)'[^\n]*\n[^\n]*\n[^\n]*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\n"
    r"[^\n]*Used (\d+) registers"
)


def compile_for(architecture: str, folder: Path) -> Compiled:
    try:
        return compiled(architecture, folder)
    except Unavailable as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"NVRTC cannot be used: {error}")


@pytest.mark.parametrize("architecture", ["sm_90", "sm_120"])
def test_kernels_spill_nothing_and_leave_registers_to_others(architecture: str, tmp_path: Path) -> None:
    made = compile_for(architecture, tmp_path)
    assert made.cubin[:4] == b"\x7fELF"
    found = {name: tuple(map(int, numbers)) for name, *numbers in REPORT.findall(made.log)}
    source = "".join(path.read_text() for path in sorted(SOURCES.glob("*.cu")))
    named = re.findall(r"^KERNEL (\w+)\(", source, re.M) + [
        f"starts_{name}" for name in re.findall(r"^STARTS\((\w+),", source, re.M)
    ]
    assert sorted(found) == sorted(named)
    for name, (stack, stores, loads, registers) in found.items():
        assert (stores, loads) == (0, 0), name
        assert registers <= REGISTERS, name
        assert stack <= STACK.get(name, 0), name
