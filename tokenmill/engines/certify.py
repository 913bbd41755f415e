"""Chooses a job's engine: the first in order of speed that gives the reference's ids on every text it is shown.

Comes in: a tokenizer, a job's rules, some of its own text. Goes out: the choice with its reason, for `job.json`. Always holds:
`auto` falls back to the reference; an engine asked for by name is used or refused, never replaced.
"""

import numpy as np
import pyarrow as pa

from tokenmill.engines.contract import Tokens
from tokenmill.engines.encoder import Encoder
from tokenmill.engines.registry import candidates, engine_type
from tokenmill.errors import UsageError
from tokenmill.job import EngineChoice, JobSpec
from tokenmill.tokenizers import Model, probes, sweep

#: Bytes of the job's own text on which an engine has to agree.
SAMPLE_BYTES = 4 << 20


def choose(model: Model, spec: JobSpec, wanted: str, sample: pa.LargeStringArray) -> EngineChoice:
    """Choose `wanted`, or with "auto" the fastest engine that agrees with the reference.

    Args:
        sample: documents of this job, about SAMPLE_BYTES.

    Raises UsageError if an engine that was asked for by name is unknown, refuses the tokenizer, or differs.
    """
    reference = Encoder(model, spec, "reference")
    if wanted == "reference":
        return EngineChoice(name="reference", version=reference.version, reason="asked for")
    texts = {"adversarial texts": pa.array([*probes(), *sweep()], pa.large_string()), "the job's own text": sample}
    expected: dict[str, Tokens] = {}
    refused: list[str] = []
    for name in candidates(model) if wanted == "auto" else [wanted]:
        if name == "reference":
            break
        reason = engine_type(name).supports(model)
        if reason is None:
            try:
                encoder = Encoder(model, spec, name)
            except Exception as error:  # engines raise what they like about a file they do not know
                reason = f"{name} refuses the tokenizer: {str(error).splitlines()[0][:200]}"
        if reason is None:
            for kind, text in texts.items():
                if kind not in expected:
                    expected[kind] = _encode(reference, text)
                differing = _differing(_encode(encoder, text), expected[kind])
                if differing is not None:
                    shown = (text[differing].as_py() or "")[:60]
                    reason = f"{name} {encoder.version} differs from the reference on {kind}: {shown!r}"
                    break
        if reason is None:
            size = f"{len(texts['adversarial texts'])} adversarial texts and {sample.nbytes / 1e6:.1f} MB of this job"
            proof = f"same ids as the reference on {size}"
            return EngineChoice(name=name, version=encoder.version, reason="; ".join([proof, *refused]))
        refused.append(reason)
    if wanted != "auto":
        raise UsageError(f"--engine {wanted} cannot be used: {refused[0]}. Give --engine auto or reference.")
    return EngineChoice(name="reference", version=reference.version, reason="; ".join(refused))


def _encode(encoder: Encoder, text: pa.LargeStringArray) -> Tokens:
    return encoder.encode(text, encoder.holds_special(text))


def _differing(tokens: Tokens, expected: Tokens) -> int | None:
    """The first document whose ids differ; None if none does."""
    if np.array_equal(tokens.offsets, expected.offsets):
        unequal = np.flatnonzero(tokens.ids != expected.ids)
        return int(np.searchsorted(expected.offsets, unequal[0], side="right")) - 1 if len(unequal) else None
    return int(np.flatnonzero(tokens.offsets != expected.offsets)[0]) - 1
