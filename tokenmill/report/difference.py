"""What has changed from one sealed output to the next, and what of it is alarming.

Comes in: the totals of two sealed outputs, and limits. Goes out: `Difference`. Always holds: it is a function of the two
manifests alone, so whoever asks again, on any machine, gets the same answer.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenmill.errors import UsageError
from tokenmill.manifest import Totals
from tokenmill.spec import OverLength


@dataclass(frozen=True, slots=True)
class Figure:
    """Something that a manifest tells, as a number."""

    label: str
    #: None where there is nothing to tell it from.
    of: Callable[[Totals], float | None]
    #: Whether it is a share: then what counts is the difference, not the relative change.
    is_share: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A figure, then and now."""

    name: str
    label: str
    old: float | None
    new: float | None
    is_share: bool = False
    #: How far it may move; None for any distance.
    limit: float | None = None

    @property
    def moved(self) -> float | None:
        """Relative change (0.1: a tenth more), of a share the difference; infinite from nothing, None where one is unknown."""
        if self.old is None or self.new is None:
            return None if self.old != self.new else 0.0
        if self.is_share or self.old == self.new:
            return self.new - self.old
        return (self.new - self.old) / self.old if self.old else math.inf

    @property
    def is_alarming(self) -> bool:
        """Whether it has moved further than it may."""
        return self.limit is not None and (self.moved is None or abs(self.moved) > self.limit)

    def says(self) -> str:
        """How far it moved, for people: +12.5 %, of a share +0.3 points."""
        if self.moved is None or math.isinf(self.moved):
            return "new" if self.new else "gone" if self.old else ""
        if not self.new and self.old and not self.is_share:
            return "gone"
        return f"{100 * self.moved:+.2f} points" if self.is_share else f"{100 * self.moved:+.1f} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """All that has changed between two outputs."""

    old: str
    new: str
    figures: tuple[Change, ...]
    #: Rejected documents by reason, the most first.
    rejected: tuple[Change, ...]
    #: The field by which both are split, and the tokens of each of its values.
    partition_by: str | None
    values: tuple[Change, ...]
    #: What was asked for otherwise: setting -> then, now.
    settings: dict[str, tuple[str, str]]

    @property
    def alarms(self) -> tuple[str, ...]:
        """One line for each limit that was crossed."""
        crossed = (change for change in self.figures if change.is_alarming)
        return tuple(f"{change.label}: {change.says() or 'unknown'}, the limit is {_limit(change)}" for change in crossed)

    def summary(self) -> dict[str, Any]:
        """For machines: `tokenmill diff --json`."""
        return {
            "old": self.old,
            "new": self.new,
            "alarms": list(self.alarms),
            "figures": {change.name: _numbers(change) for change in self.figures},
            "rejected_by_reason": {change.name: _numbers(change) for change in self.rejected},
            "partition_by": self.partition_by,
            # a list: no value has a name of its own in JSON
            "tokens_by_value": [
                {"value": None if change.name == "" else change.name, **_numbers(change)} for change in self.values
            ],
            "settings": {name: {"old": then, "new": now} for name, (then, now) in self.settings.items()},
        }


def quantile(lengths: Sequence[int], share: float) -> float | None:
    """The length that this share of the documents stays below, about: within a bin the logarithms are taken to lie evenly.

    Args:
        lengths: of a manifest: lengths[k] documents have between 2^(k-1) and 2^k - 1 tokens.
    """
    rank, before = share * sum(lengths), 0
    for k, count in enumerate(lengths):
        if count and before + count >= rank:
            return 0.0 if k == 0 else 2.0 ** (k - 1 + (rank - before) / count)
        before += count
    return None


def _fertility(totals: Totals) -> float | None:
    """Tokens that a byte of text became, before any was cut off and without what pieces have twice."""
    cut = totals.tokens_dropped if totals.over_length is OverLength.TRUNCATE else 0
    return (totals.tokens + cut - totals.tokens_added) / totals.text_bytes if totals.text_bytes else None


def _rejected_share(totals: Totals) -> float | None:
    read = totals.documents - totals.pieces + totals.documents_split + totals.rejected
    return totals.rejected / read if read else None


#: By the names that limits are given under.
FIGURES = {
    "documents": Figure("documents", lambda totals: totals.documents),
    "tokens": Figure("tokens", lambda totals: totals.tokens),
    "text_bytes": Figure("bytes of text", lambda totals: totals.text_bytes),
    "input_bytes": Figure("bytes as stored", lambda totals: totals.input_bytes),
    "rejected": Figure("rejected", lambda totals: totals.rejected),
    "rejected_share": Figure("rejected, share", _rejected_share, is_share=True),
    "fertility": Figure("tokens per byte", _fertility),
    "median_length": Figure("median length, about", lambda totals: quantile(totals.document_lengths, 0.5)),
    "p90_length": Figure("90 % are shorter than", lambda totals: quantile(totals.document_lengths, 0.9)),
}
#: Of an output that is split: the share of the tokens whose value was not there before; of then, whose value is gone.
NEW_VALUES, GONE_VALUES = "new_values", "gone_values"
LIMITS = (*FIGURES, NEW_VALUES, GONE_VALUES)
#: What is asked of a job and stands in its manifest.
SETTINGS = (
    *("format", "dtype", "bos_token", "eos_token", "special_tokens", "sample", "max_tokens", "over_length", "shuffle", "pack"),
    "partition_by",
)


def limits(said: Iterable[str]) -> dict[str, float]:
    """Limits as they are written, NAME=NUMBER. Raises UsageError for what is none."""
    found: dict[str, float] = {}
    for limit in said:
        name, _, number = limit.partition("=")
        if name not in LIMITS:
            raise UsageError(f"--limit {limit}: there is no figure {name!r}. There are {', '.join(LIMITS)}.")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = math.nan
        if not found[name] >= 0:
            raise UsageError(f"--limit {limit}: give how far it may move, such as {name}=0.1 for a tenth.")
    return found


def difference(old: Totals, new: Totals, limited: Mapping[str, float], *, names: tuple[str, str] = ("", "")) -> Difference:
    """Compare two sealed outputs.

    Args:
        limited: figure -> how far it may move either way, as a relative change; shares by their difference.
        names: what the two are called.
    """
    figures = [
        Change(
            name=name,
            label=figure.label,
            old=figure.of(old),
            new=figure.of(new),
            is_share=figure.is_share,
            limit=limited.get(name),
        )
        for name, figure in FIGURES.items()
    ]
    reasons = sorted(
        old.rejected_by_reason.keys() | new.rejected_by_reason.keys(),
        key=lambda reason: (-new.rejected_by_reason.get(reason, 0), reason),
    )
    field = new.partition_by if new.partition_by == old.partition_by else None
    values = _values(old, new) if field is not None else ()
    if field is not None:
        figures += _turnover(old, new, values, limited)
    return Difference(
        old=names[0],
        new=names[1],
        figures=tuple(figures),
        rejected=tuple(
            Change(
                name=reason, label=reason, old=old.rejected_by_reason.get(reason, 0), new=new.rejected_by_reason.get(reason, 0)
            )
            for reason in reasons
        ),
        partition_by=field,
        values=values,
        settings=_settings(old, new),
    )


def _values(old: Totals, new: Totals) -> tuple[Change, ...]:
    """Tokens by value, the most first."""
    then, now = ({part.value or "": part.tokens for part in totals.parts} for totals in (old, new))
    changes = [
        Change(name=value, label=value or "(no value)", old=then.get(value, 0), new=now.get(value, 0))
        for value in then.keys() | now.keys()
    ]
    return tuple(sorted(changes, key=lambda change: (-(change.new or 0), -(change.old or 0), change.name)))


def _turnover(old: Totals, new: Totals, values: Iterable[Change], limited: Mapping[str, float]) -> list[Change]:
    """The shares of what is new and of what is gone."""
    came, went = ({change.name for change in values if not getattr(change, side)} for side in ("old", "new"))
    rows = ((NEW_VALUES, "of new values", new, came), (GONE_VALUES, "of values that are gone", old, went))
    return [
        Change(
            name=name,
            label=label,
            old=0.0,
            new=sum(part.tokens for part in totals.parts if (part.value or "") in chosen) / max(1, totals.tokens),
            is_share=True,
            limit=limited.get(name),
        )
        for name, label, totals, chosen in rows
    ]


def _settings(old: Totals, new: Totals) -> dict[str, tuple[str, str]]:
    found = {"tokenizer": tuple(f"{totals.tokenizer.name} ({totals.tokenizer.sha256[:12]})" for totals in (old, new))}
    found |= {name: tuple(_said(getattr(totals, name)) for totals in (old, new)) for name in SETTINGS}
    return {name: (then, now) for name, (then, now) in found.items() if then != now}


def _said(setting: Any) -> str:
    if setting is None:
        return "none"
    return str(setting.model_dump_json()) if hasattr(setting, "model_dump_json") else str(setting)


def _limit(change: Change) -> str:
    return f"{100 * (change.limit or 0):g} {'points' if change.is_share else '%'}"


def _numbers(change: Change) -> dict[str, Any]:
    moved = change.moved if change.moved is not None and math.isfinite(change.moved) else None
    return {"old": change.old, "new": change.new, "moved": moved, "limit": change.limit, "alarm": change.is_alarming}
