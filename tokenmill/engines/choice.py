"""Which engine encodes a job: chosen once by the producer, granted on every host by its own certificate.

Comes in: a tokenizer, a job's rules, some of its own text. Goes out: the choice with its reason, for `job.json`; on a worker,
an encoder. Always holds: no engine without a certificate, and none that differed from the reference on the job's own text;
`auto` falls back to the reference; an engine asked for by name is used or refused here, never replaced. (A worker whose host
refuses it, or a job whose live check catches it, goes over to the reference, and says so in its entries.) The GPU's engine is
nobody's choice but a GPU's worker's: it is granted by that host's certificate and, unless it was asked for by name, by a
measurement on the job's own text; all others do the same batches with the CPU's.

Which of several exact engines is fastest stands in the order of `registry.ENGINES`, as `benchmarks/` measured it. A race on the
job's own sample crowned the wrong one: on 2 MB fastokens made 90 MB per CPU-second and gigatoken 38, over a job it is the other
way round.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pyarrow as pa

from tokenmill.engines import certify
from tokenmill.engines.calibration import calibrate
from tokenmill.engines.certificates import certificate
from tokenmill.engines.contract import Unavailable
from tokenmill.engines.encoder import Encoder
from tokenmill.engines.registry import GPU, REFERENCE, candidates, engine_type, engine_version
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
        return _reference("asked for", by_name=True)
    if wanted == GPU:
        reason = engine_type(GPU).supports(model) or not_for(model, spec)
        if reason is not None:
            raise UsageError(f"--engine {GPU} cannot be used: {reason}. Give --engine auto or reference.")
        return EngineChoice(
            name=GPU, version=engine_version(GPU), reason="asked for; each GPU's worker proves it first", by_name=True
        )
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
            return EngineChoice(
                name=name, version=engine_version(name), reason="; ".join([proof, *refused]), by_name=wanted != "auto"
            )
        refused.append(reason)
    certify.forget()
    if wanted != "auto":
        raise UsageError(f"--engine {wanted} cannot be used: {refused[0]}. Give --engine auto or reference.")
    return _reference("; ".join(refused))


def _reference(reason: str, *, by_name: bool = False) -> EngineChoice:
    return EngineChoice(name=REFERENCE, version=engine_version(REFERENCE), reason=reason, by_name=by_name)


def trusted(model: Model, spec: JobSpec, name: str, folder: Path) -> Encoder:
    """The job's encoder on this host's CPUs: its engine if this host's own certificate grants it, else the reference.

    For a job of the GPU's engine it is the first of the CPU's that is granted.
    """
    encoder = Encoder(model, spec, REFERENCE)
    for each in candidates(model) if name == GPU else [] if name == REFERENCE else [name]:
        granted = certificate(model, each, folder)
        if granted.refusal is None:
            encoder = Encoder(model, spec, each, granted.guard)
            break
    certify.forget()
    return encoder


def on_gpu(cpu: Encoder, folder: Path, text: pa.LargeStringArray, *, by_name: bool) -> tuple[Encoder, str]:
    """The GPU's engine with the CPU's behind it, if it is exact here and the quicker one; else the CPU's. With the reason.

    Args:
        cpu: what `trusted` says.
        text: some of the job's own.
        by_name: whether it was asked for, however quick it is.
    """
    from tokenmill.engines import cuda

    reason = cuda.CudaEngine.supports(cpu.model) or not_for(cpu.model, cpu.spec) or cuda.why_not_here()
    if reason is not None:
        return cpu, reason
    try:
        granted = certificate(cpu.model, GPU, folder)
        certify.forget()
        if granted.refusal is not None:
            return cpu, granted.says()
        gpu = Encoder(cpu.model, cpu.spec, GPU, granted.guard, cpu)
        reason = differs(gpu, text)
        if reason is not None:
            return cpu, reason
        if by_name and gpu.lost is None:
            return gpu, "asked for"
        found = calibrate(gpu, cpu, text)
    except Unavailable as error:
        return cpu, str(error)
    if gpu.lost is not None:
        return cpu, gpu.lost
    return gpu if found.gpu > found.cpu else cpu, found.says()


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
