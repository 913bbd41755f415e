"""Which engine encodes a job: chosen once by the producer, granted on every host by its own certificate.

Comes in: a tokenizer, a job's rules, some of its own text. Goes out: the choice with its reason, for `job.json`; on a worker,
an encoder. Always holds: no engine without a certificate, and none that differed from the reference on the job's own text;
`auto` falls back to the reference; an engine asked for by name is used or refused here, never replaced. (A worker whose host
refuses it, or a job whose live check catches it, goes over to the reference, and says so in its entries.)
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from tokenmill.engines import certify
from tokenmill.engines.certificates import certificate
from tokenmill.engines.encoder import Encoder
from tokenmill.engines.registry import REFERENCE, candidates, engine_type, engine_version
from tokenmill.errors import UsageError
from tokenmill.job import EngineChoice, JobSpec, SpecialTokens
from tokenmill.tokenizers import Model

#: Source bytes from which engines are timed on the job's own text. Loading one only to time it takes 2 s; below this, the
#: difference between two engines comes to less.
WORTH_TIMING = 8 << 30


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
    names = candidates(model) if wanted == "auto" else [wanted]
    trials = _Trials(model, spec, folder, sample)
    for name in names:
        trials.add(name)
        if trials.exact and size < WORTH_TIMING:
            break
    certify.forget()
    if trials.exact:
        return trials.fastest()
    refused = "; ".join(trials.refused)
    if wanted != "auto":
        raise UsageError(f"--engine {wanted} cannot be used: {refused}. Give --engine auto or reference.")
    return _reference(refused)


@dataclass(slots=True)
class _Trials:
    """Engines tried on one job."""

    model: Model
    spec: JobSpec
    folder: Path
    sample: Callable[[], pa.LargeStringArray]
    #: The job's text, read for the first engine that needs it.
    text: pa.LargeStringArray | None = None
    #: Engines that gave the reference's ids, each with what it was tried on.
    exact: list[tuple[Encoder, str]] = field(default_factory=list)
    #: Why the others cannot be used.
    refused: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """Try one more engine."""
        granted = certificate(self.model, name, self.folder)
        reason = granted.says() if granted.refusal is not None else not_for(self.model, self.spec)
        if reason is None:
            encoder = Encoder(self.model, self.spec, name, granted.guard)
            self.text = self.sample() if self.text is None else self.text
            reason = differs(encoder, self.text)
            if reason is None:
                self.exact.append((encoder, f"{granted.says()} and {self.text.nbytes / 1e6:.1f} MB of this job"))
                return
        self.refused.append(reason)

    def fastest(self) -> EngineChoice:
        """The exact engine that is fastest on the job's text; the only one needs no race."""
        chosen, proof = self.exact[0]
        if len(self.exact) > 1 and self.text is not None:
            rates = {encoder.name: rate(encoder, self.text) for encoder, _ in self.exact}
            chosen, proof = max(self.exact, key=lambda pair: rates[pair[0].name])
            timed = ", ".join(f"{name} {speed:.0f}" for name, speed in rates.items())
            proof += f"; fastest on it, in MB per CPU-second: {timed}"
        return EngineChoice(name=chosen.name, version=chosen.version, reason="; ".join([proof, *self.refused]))


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


def rate(encoder: Encoder, text: pa.LargeStringArray) -> float:
    """Megabytes of text per CPU-second, on text the engine has seen once: a long job meets the same words again and again."""
    holds, begin = encoder.holds_special(text), time.process_time()
    encoder.encode(text, holds)
    return text.nbytes / 1e6 / max(time.process_time() - begin, 1e-9)
