"""Proves an engine on a tokenizer before any job may use it: every code point in several contexts, and an adversarial pack.

Comes in: a tokenizer and an engine's name. Goes out: the code points on which the engine differs (its *guard*), or why it
cannot be used at all. Always holds: with the guard's documents given to the reference, the engine gave the reference's ids on
every text that was tried. What differs without a code point to blame is refused.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from tokenmill.engines.contract import Engine, Tokens, Unavailable
from tokenmill.engines.reference import ReferenceEngine
from tokenmill.engines.registry import engine_type
from tokenmill.tokenizers import SWEPT, Model, TextSearch, in_contexts, probes, token_probes

#: Code points per text of the sweep; a text that differs is taken apart.
PACKED = 64
#: An engine that differs on more code points than this follows other rules, not other Unicode tables.
LARGEST_GUARD = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What came of trying an engine."""

    #: Code points on which it differs from the reference, sorted.
    guard: tuple[int, ...] = ()
    #: Why it cannot be used; None if it can.
    refusal: str | None = None
    #: Texts on which it was compared.
    texts: int = 0


def prove(model: Model, name: str) -> Proof:
    """Compare an engine with the reference."""
    reason = engine_type(name).supports(model)
    if reason is not None:
        return Proof(refusal=reason)
    expected = _expected(model)  # before the engine is loaded: both at once take 200 MB more
    try:
        return _compare(engine_type(name)(model), expected, model)
    except (MemoryError, Unavailable):  # say nothing of the tokenizer, and would be kept as if they did
        raise
    except Exception as error:  # engines raise what they like about a file they do not take
        said = str(error).splitlines() or [type(error).__name__]
        return Proof(refusal=f"it refuses the tokenizer: {said[0][:200]}")


def forget() -> None:
    """Give up what is kept for the next engine of the same tokenizer; about 100 MB."""
    _expected.cache_clear()
    _sweep.cache_clear()


def _compare(engine: Engine, expected: "_Expected", model: Model) -> Proof:
    groups, sweep = _sweep()
    guard: list[int] = []
    differing = _differing(engine.encode(sweep), expected.sweep)
    reference = ReferenceEngine(model) if differing else None
    for group in differing:
        assert reference is not None
        alone = pa.array([in_contexts([point]) for point in groups[group]], pa.large_string())
        guilty = _differing(engine.encode(alone), reference.encode(alone))
        guard += [groups[group][index] for index in guilty]
        if not guilty:
            return Proof(refusal=f"it differs on U+{groups[group][0]:04X} and its neighbours together")
        if len(guard) > LARGEST_GUARD:
            return Proof(refusal=f"it differs on more than {LARGEST_GUARD:,} code points, the first U+{guard[0]:04X}")
    guarded = TextSearch(map(chr, guard)).holds(expected.pack_texts)
    for index in _differing(engine.encode(expected.pack_texts), expected.pack):
        if not guarded[index]:
            return Proof(refusal=f"it differs on {expected.pack_texts[index].as_py()[:60]!r}")
    return Proof(guard=tuple(guard), texts=len(SWEPT) + int((~guarded).sum()))


@dataclass(frozen=True, slots=True)
class _Expected:
    """The reference's ids of all that is tried."""

    sweep: Tokens
    pack_texts: pa.LargeStringArray
    pack: Tokens


@lru_cache(maxsize=1)
def _expected(model: Model) -> _Expected:
    """Kept for the next engine of the same tokenizer, since it takes seconds."""
    reference = ReferenceEngine(model)
    pack = pa.array([*probes(), *token_probes(model)], pa.large_string())
    return _Expected(reference.encode(_sweep()[1]), pack, reference.encode(pack))


@lru_cache(maxsize=1)
def _sweep() -> tuple[list[tuple[int, ...]], pa.LargeStringArray]:
    """The code points in groups, and each group's text."""
    groups = [SWEPT[start : start + PACKED] for start in range(0, len(SWEPT), PACKED)]
    return groups, pa.array([in_contexts(group) for group in groups], pa.large_string())


def _differing(found: Tokens, expected: Tokens) -> list[int]:
    """Which documents' ids differ; those of which an engine is not sure go to the reference, and need not agree."""
    sure = np.ones(len(found), np.bool_) if found.unsure is None else ~found.unsure
    return [i for i in np.flatnonzero(sure).tolist() if not np.array_equal(found.document(i), expected.document(i))]
