"""Proves an engine on a tokenizer before any job may use it: every code point in several contexts, and an adversarial pack.

Comes in: a tokenizer and an engine's name. Goes out: the code points on which the engine differs (its *guard*), or why it
cannot be used at all. Always holds: with the guard's documents given to the reference, the engine gave the reference's ids on
every text that was tried. What differs without a code point to blame is refused.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from tokenmill.engines.contract import Engine, Tokens
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
    try:
        return _compare(engine_type(name)(model), model)
    except Exception as error:  # engines raise what they like about a file they do not take
        said = str(error).splitlines() or [type(error).__name__]
        return Proof(refusal=f"it refuses the tokenizer: {said[0][:200]}")


def _compare(engine: Engine, model: Model) -> Proof:
    groups, texts = _sweep()
    reference, expected = _expected(model)
    guard: list[int] = []
    for group in _differing(engine.encode(texts), expected):
        alone = pa.array([in_contexts([point]) for point in groups[group]], pa.large_string())
        guilty = _differing(engine.encode(alone), reference.encode(alone))
        guard += [groups[group][index] for index in guilty]
        if not guilty:
            return Proof(refusal=f"it differs on U+{groups[group][0]:04X} and its neighbours together")
        if len(guard) > LARGEST_GUARD:
            return Proof(refusal=f"it differs on more than {LARGEST_GUARD:,} code points, the first U+{guard[0]:04X}")
    pack = pa.array([*probes(), *token_probes(model)], pa.large_string())
    pack = pack.filter(pa.array(~TextSearch(map(chr, guard)).holds(pack)))
    for index in _differing(engine.encode(pack), reference.encode(pack)):
        return Proof(refusal=f"it differs on {pack[index].as_py()[:60]!r}")
    return Proof(guard=tuple(guard), texts=len(SWEPT) + len(pack))


@lru_cache(maxsize=1)
def _expected(model: Model) -> tuple[ReferenceEngine, Tokens]:
    """The reference and its ids of the sweep; kept for the next engine of the same tokenizer, since they take seconds."""
    reference = ReferenceEngine(model)
    return reference, reference.encode(_sweep()[1])


@lru_cache(maxsize=1)
def _sweep() -> tuple[list[tuple[int, ...]], pa.LargeStringArray]:
    """The code points in groups, and each group's text."""
    groups = [SWEPT[start : start + PACKED] for start in range(0, len(SWEPT), PACKED)]
    return groups, pa.array([in_contexts(group) for group in groups], pa.large_string())


def _differing(found: Tokens, expected: Tokens) -> list[int]:
    """Which documents' ids differ."""
    return [i for i in range(len(expected)) if not np.array_equal(found.document(i), expected.document(i))]
