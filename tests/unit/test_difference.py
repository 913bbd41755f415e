"""What has changed between two manifests: how far figures moved, and which limits that crosses."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmill.errors import UsageError
from tokenmill.job import TokenizerRef
from tokenmill.manifest import Part, Totals
from tokenmill.report import Change, changes, difference, limits
from tokenmill.report.difference import quantile
from tokenmill.spec import OverLength, SpecialTokens


def totals(**given: object) -> Totals:
    """A manifest's totals; what is not given is that of a plain job."""
    plain: dict[str, object] = {
        "job_id": "0" * 16, "format": "megatron", "dtype": "int32", "bos_token": None, "bos_id": None, "eos_token": None,
        "eos_id": None, "special_tokens": SpecialTokens.TEXT, "tokens": 250, "documents": 10, "rejected": 0,
        "rejected_by_reason": {}, "documents_with_special_tokens": 0, "input_bytes": 1100, "text_bytes": 1000,
        "document_lengths": (0, 0, 0, 0, 0, 10),
        "tokenizer": TokenizerRef(name="t", revision=None, sha256="a" * 64, vocab_size=9, files=()),
    }  # fmt: skip
    return Totals.model_validate(plain | given)


def figures(old: Totals, new: Totals, *said: str) -> dict[str, Change]:
    return {change.name: change for change in difference(old, new, limits(said)).figures}


def parts(**tokens: int) -> tuple[Part, ...]:
    return tuple(
        Part(path=f"partitions/l={name}", value=name or None, documents=1, tokens=count) for name, count in tokens.items()
    )


def test_a_limit_holds_both_ways_and_up_to_itself() -> None:
    """Relative for counts, the difference for shares."""
    old = totals()
    for tokens, alarms in ((375, 0), (376, 1), (125, 0), (124, 1)):
        found = difference(old, totals(tokens=tokens), limits(["tokens=0.5"]))
        assert len(found.alarms) == alarms, tokens
    rejecting = totals(documents=9, rejected=1, rejected_by_reason={"broken_json": 1})
    assert figures(old, rejecting, "rejected_share=0.11")["rejected_share"].moved == pytest.approx(0.1)
    assert not difference(old, rejecting, limits(["rejected_share=0.11"])).alarms
    assert difference(old, rejecting, limits(["rejected_share=0.09"])).alarms


def test_from_nothing_every_limit_is_crossed_and_what_is_unknown_is_alarming() -> None:
    old, new = totals(), totals(rejected=3, rejected_by_reason={"empty": 3})
    assert figures(old, new)["rejected"].says() == "new"
    assert difference(old, new, {"rejected": 1e9}).alarms
    assert not difference(old, old, {"rejected": 0.0}).alarms
    nothing = totals(tokens=0, documents=0, text_bytes=0, document_lengths=())
    assert difference(old, nothing, {"fertility": 0.5}).alarms == ("tokens per byte: gone, the limit is 50 %",)
    assert not difference(nothing, nothing, {"fertility": 0.0}).alarms


def test_fertility_is_that_of_the_text_whatever_became_of_its_tokens() -> None:
    """Cutting documents off or up is no drift of a language."""
    old = totals()
    cut = totals(tokens=150, tokens_dropped=100, over_length=OverLength.TRUNCATE, max_tokens=15)
    split = totals(tokens=280, tokens_added=30, over_length=OverLength.SPLIT, max_tokens=15)
    for new in (cut, split):
        assert figures(old, new)["fertility"].moved == 0.0


def test_values_that_come_and_go_are_told_by_their_share() -> None:
    old = totals(partition_by="l", parts=parts(de=200, en=50))
    new = totals(partition_by="l", parts=parts(de=150, fr=90, it=10))
    found = difference(old, new, limits(["new_values=0.39", "gone_values=0.2"]))
    assert found.alarms == ("of new values: +40.00 points, the limit is 39 points",)
    assert [(change.name, change.says()) for change in found.values] == [
        ("de", "-25.0 %"), ("fr", "new"), ("it", "new"), ("en", "gone"),
    ]  # fmt: skip
    elsewhere = difference(old, totals(partition_by="m", parts=parts(de=250)), limits(["new_values=0"]))
    assert not elsewhere.values
    assert elsewhere.settings["partition_by"] == ("l", "m")


def test_another_tokenizer_is_said() -> None:
    other = TokenizerRef(name="u", revision=None, sha256="b" * 64, vocab_size=9, files=())
    found = difference(totals(), totals(tokenizer=other, shuffle=3), {})
    assert found.settings == {"tokenizer": ("t (aaaaaaaaaaaa)", "u (bbbbbbbbbbbb)"), "shuffle": ("none", "3")}


def test_what_others_have_named_stays_text_in_markdown() -> None:
    old, new = totals(partition_by="l", parts=parts(de=250)), totals(partition_by="l", parts=parts(**{"<b>@all|": 250}))
    said = changes(difference(old, new, {}, names=("a", "b")))
    assert "<b>" not in said
    assert "@all" not in said
    assert all(line.count("|") == 5 for line in said.splitlines() if line.startswith("|"))


@pytest.mark.parametrize("said", ["tokens", "tokens=", "tokens=x", "tokens=-1", "tokens=nan", "words=1", "=1"])
def test_a_limit_that_is_none_is_refused(said: str) -> None:
    with pytest.raises(UsageError, match="--limit"):
        limits([said])


@given(st.lists(st.integers(0, 1 << 20), min_size=1, max_size=300), st.floats(0.01, 0.99))
def test_a_quantile_lies_in_the_bin_of_the_true_one(lengths: list[int], share: float) -> None:
    """And it never falls as the share grows."""
    bins = [0] * 22
    for length in lengths:
        bins[length.bit_length()] += 1
    true = sorted(lengths)[math.ceil(share * len(lengths)) - 1]
    found = quantile(bins, share)
    assert found is not None
    assert (1 << true.bit_length()) / 2 <= found <= 1 << true.bit_length() or (true == 0 and found == 0)
    assert found <= (quantile(bins, min(0.999, share * 1.1)) or 0)
