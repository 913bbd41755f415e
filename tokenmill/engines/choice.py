"""Which engine encodes a job: chosen once by the producer, granted on every host by its own certificate.

Comes in: a tokenizer, a job's rules, some of its own text. Goes out: the choice with its reason, for `job.json`; on a worker,
an encoder. Always holds: no engine without a certificate, and none that differed from the reference on the job's own text;
`auto` falls back to the reference; an engine asked for by name is used or refused here, never replaced. (A worker whose host
refuses it, or a job whose live check catches it, goes over to the reference, and says so in its entries.)

Which of several exact engines is fastest stands in the order of `registry.ENGINES`, as `benchmarks/` measured it. A race on the
job's own sample crowned the wrong one: on 2 MB fastokens made 90 MB per CPU-second and gigatoken 38, over a job it is the other
way round.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pyarrow as pa

from tokenmill.engines import certify
from tokenmill.engines.certificates import certificate
from tokenmill.engines.encoder import Encoder
from tokenmill.engines.registry import REFERENCE, candidates, engine_type, engine_version
from tokenmill.errors import UsageError
from tokenmill.job import EngineChoice
from tokenmill.spec import JobSpec, SpecialTokens
from tokenmill.tokenizers import Model


def choose(
    model: Model, spec: JobSpec, wanted: str, sample: Callable[[], pa.LargeStringArray], folder: Path, size: int
) -> EngineChoice:
    """Choose `wanted`, or with "auto" the fastest engine that is exact.

    Args:
        sample: gives documents of this job, from several places.
        folder: where this host keeps certificates.
        size: source bytes of the job.

    Raises UsageError if an engine that was asked for by name is unknown, refuses the tokenizer, or differs.
    """
    if wanted == REFERENCE:
        return _reference("asked for")
    if wanted != "auto":
        engine_type(wanted)
    elif not size:
        return _reference("there is no text to encode")
    elif spec.chat is not None:
        return _reference(str(not_for(model, spec)))
    refused: list[str] = []
    text = cache(sample)
    for name in candidates(model) if wanted == "auto" else [wanted]:
        granted = certificate(model, name, folder)
        reason = granted.says() if granted.refusal is not None else not_for(model, spec)
        reason = reason or differs(Encoder(model, spec, name, granted.guard), text())
        if reason is None:
            certify.forget()
            proof = f"{granted.says()} and {text().nbytes / 1e6:.1f} MB of this job"
            return EngineChoice(name=name, version=engine_version(name), reason="; ".join([proof, *refused]))
        refused.append(reason)
    certify.forget()
    if wanted != "auto":
        raise UsageError(f"--engine {wanted} cannot be used: {refused[0]}. Give --engine auto or reference.")
    return _reference("; ".join(refused))


def _reference(reason: str) -> EngineChoice:
    return EngineChoice(name=REFERENCE, version=engine_version(REFERENCE), reason=reason)


def trusted(model: Model, spec: JobSpec, name: str, folder: Path) -> Encoder:
    """The job's encoder on this host: its engine if this host's own certificate grants it, else the reference."""
    if name == REFERENCE:
        return Encoder(model, spec, REFERENCE)
    granted = certificate(model, name, folder)
    certify.forget()
    return Encoder(model, spec, name, granted.guard) if granted.refusal is None else Encoder(model, spec, REFERENCE)


def not_for(model: Model, spec: JobSpec) -> str | None:
    """Why no engine but the reference can follow a job's rules; None if one may."""
    if spec.chat is not None:
        return "only the reference says which characters a token of a conversation stands for"
    normalized = any(token.get("normalized") for token in model.special_tokens)
    if spec.special_tokens is SpecialTokens.PARSE and normalized and model.part("normalizer") is not None:
        return "a special token may come about by normalization, and only the reference parses those"
    return None


def differs(encoder: Encoder, text: pa.LargeStringArray) -> str | None:
    """Where an encoder's ids are not the reference's; None if they are."""
    holds = encoder.holds_special(text)
    differing = encoder.encode(text, holds).first_difference(encoder.reference.encode(text, holds))
    if differing is None:
        return None
    return (
        f"{encoder.name} {encoder.version} differs from the reference on the job's own text: {text[differing].as_py()[:60]!r}"
    )
