"""Engines by name, each imported only when it is asked for."""

from collections.abc import Callable

from tokenmill.engines.contract import EngineType
from tokenmill.errors import UsageError
from tokenmill.tokenizers import Model


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


ENGINES: dict[str, Callable[[], EngineType]] = {
    "fastokens": _fastokens,
    "gigatoken": _gigatoken,
    "nanotoken": _nanotoken,
    "reference": _reference,
}


def engine_type(name: str) -> EngineType:
    """The engine of that name. Raises UsageError if there is none."""
    if name not in ENGINES:
        raise UsageError(f"--engine {name}: there is no such engine. Give auto, {', '.join(ENGINES)}.")
    return ENGINES[name]()


def candidates(model: Model) -> list[str]:
    """The engines to try for a tokenizer, fastest first as measured on mixed real text (README, benchmarks)."""
    if model.family == "BPE" and not model.byte_level:
        return ["gigatoken", "fastokens", "reference"]
    return ["fastokens", "gigatoken", "nanotoken", "reference"]
