"""Engines by name, each imported only when it is asked for.

An engine is named after the package it comes from, whose version is its own; `cuda` is ours.
"""

import importlib.metadata
from collections.abc import Callable

from tokenmill.engines.contract import EngineType
from tokenmill.errors import UsageError
from tokenmill.tokenizers import Model

#: The oracle; it needs no certificate.
REFERENCE = "reference"
#: The engine that needs a GPU: no job is bound to it, since hosts without one do the same batches.
GPU = "cuda"


def _reference() -> EngineType:
    from tokenmill.engines.reference import ReferenceEngine

    return ReferenceEngine


def _fastokens() -> EngineType:
    from tokenmill.engines.fastokens import FastokensEngine

    return FastokensEngine


def _gigatoken() -> EngineType:
    from tokenmill.engines.gigatoken import GigatokenEngine

    return GigatokenEngine


def _nanotoken() -> EngineType:
    from tokenmill.engines.nanotoken import NanotokenEngine

    return NanotokenEngine


def _splintr() -> EngineType:
    from tokenmill.engines.splintr import SplintrEngine

    return SplintrEngine


def _cuda() -> EngineType:
    from tokenmill.engines.cuda import CudaEngine

    return CudaEngine


#: Fastest first, as measured on mixed real text (README, "Measured").
ENGINES: dict[str, Callable[[], EngineType]] = {
    "gigatoken": _gigatoken,
    "fastokens": _fastokens,
    "nanotoken": _nanotoken,
    "splintr-rs": _splintr,
    REFERENCE: _reference,
    GPU: _cuda,
}


def engine_type(name: str) -> EngineType:
    """The engine of that name. Raises UsageError if there is none."""
    if name not in ENGINES:
        raise UsageError(f"--engine {name}: there is no such engine. Give auto, {', '.join(ENGINES)}.")
    return ENGINES[name]()


def engine_version(name: str) -> str:
    """The version of an engine, without loading it."""
    if name == GPU:
        from tokenmill.engines.cuda import version

        return version()
    return importlib.metadata.version("tokenizers" if name == REFERENCE else name)


def candidates(model: Model) -> list[str]:
    """The CPU's engines that may take a tokenizer, fastest first; the reference, which takes all, is not among them."""
    return [name for name in ENGINES if name not in (REFERENCE, GPU) and engine_type(name).supports(model) is None]
