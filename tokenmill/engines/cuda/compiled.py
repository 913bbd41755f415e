"""The kernels as machine code, compiled at first use by NVRTC and kept by what they were made from.

Comes in: an architecture. Goes out: a cubin. Always holds: it is the code of the very sources of this package, whose digest is
part of its name in the cache; machine code rather than PTX, since a driver may be older than the compiler, and then loads no
PTX of it. Needs the packages of `tokenmill[cuda]`, neither a GPU nor a driver.
"""

import hashlib
import importlib.metadata
import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tokenmill import storage
from tokenmill.engines.contract import Unavailable

#: C++ headers and the one file of kernels over them.
SOURCES = Path(__file__).parent / "kernels"


@dataclass(frozen=True, slots=True)
class Compiled:
    """Machine code, and what the assembler said of each kernel: registers, stack, spills."""

    cubin: bytes
    log: str


@cache
def version() -> str:
    """Names the state of this engine: everything in its package that ids depend on."""
    files = sorted(file for file in SOURCES.parent.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    parts = (part for file in files for part in (file.name.encode(), file.read_bytes()))
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def compiled(architecture: str, folder: Path) -> Compiled:
    """The kernels for an architecture such as "sm_90"; takes seconds where the cache has none.

    Args:
        folder: this host's cache.

    Raises Unavailable if NVRTC is not installed, or does not know the architecture.
    """
    kept = folder / "kernels" / f"{architecture}-{version()}-{_compiler()}.cubin"
    said = kept.with_suffix(".log")
    if kept.is_file() and said.is_file():
        return Compiled(kept.read_bytes(), said.read_text())
    made = _compile(architecture)
    storage.put(str(said), made.log.encode())
    storage.put(str(kept), made.cubin)
    return made


def _compiler() -> str:
    try:
        return importlib.metadata.version("nvidia-cuda-nvrtc")
    except importlib.metadata.PackageNotFoundError:
        return "system"


def _compile(architecture: str) -> Compiled:
    try:
        from cuda.core import Program, ProgramOptions
    except ImportError as error:
        raise Unavailable(f"{error}. Install tokenmill[cuda].") from None
    options = ProgramOptions(
        name="kernels.cu", std="c++17", arch=architecture, include_path=[str(SOURCES)], ptxas_options=["-v"]
    )
    log = io.StringIO()
    try:
        program = Program((SOURCES / "kernels.cu").read_text(), "c++", options)
        code = program.compile("cubin", logs=log).code
    except Exception as error:  # the binding raises what NVRTC, or looking for it, brought
        said = str(error).splitlines() or [type(error).__name__]
        raise Unavailable(f"NVRTC did not compile the kernels for {architecture}: {said[0][:300]}") from error
    assert isinstance(code, bytes)
    return Compiled(code, log.getvalue())
