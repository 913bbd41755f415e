"""Facts by a device: its kernels as they stand, run by the processor, tell what NumPy tells, of any documents in any passes."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cuda.host import HostDevice
from tokenmill.engines import from_lengths
from tokenmill.engines.contract import Unavailable
from tokenmill.engines.reference import ReferenceEngine
from tokenmill.facts import Asked, Known, Processor, Proved
from tokenmill.facts.contract import Arithmetic, Told
from tokenmill.facts.device import OnDevice
from tokenmill.facts.testsets import runs_of
from tokenmill.facts.texts import Ends, Texts
from tokenmill.tokenizers import Model

VOCABULARY = 1 << 18
#: Few different ids, so that runs repeat; some of the highest.
IDS = st.one_of(st.integers(0, 2), st.sampled_from([VOCABULARY - 1, 7]))
DOCUMENTS = st.lists(st.one_of(st.lists(IDS, max_size=16), st.lists(IDS, min_size=50, max_size=140)), max_size=9)
ENDS = st.builds(Ends, bos=st.booleans(), eos=st.booleans(), marked=st.just(False))


def flat(documents: list[list[int]], ends: Ends) -> Texts:
    framed = [[5] * ends.bos + document + [6] * ends.eos for document in documents]
    ids = np.array([token for document in framed for token in document], np.uint32)
    return ends.texts(ids, np.array([len(document) for document in framed], np.int64))


def sets_of(*texts: list[int]) -> Known:
    """Test sets of one text each."""
    runs = tuple(runs_of(from_lengths(np.array(text, np.uint32), np.array([len(text)]))) for text in texts)
    return Known(tuple(f"set-{number}" for number in range(len(texts))), runs)


def check(arithmetic: Arithmetic, texts: Texts) -> Told:
    told, right = arithmetic.tell(texts), Processor(arithmetic.asked).tell(texts)
    assert told.first_difference(right) is None
    assert [column.dtype for column in (told.counts, told.signatures, told.matches.covered)] == [np.int64, np.uint32, np.int64]
    return told


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS, ENDS, st.integers(1, 40), st.sampled_from([1, 20, 64, 200, 1000]), st.data())
def test_of_any_documents(documents: list[list[int]], ends: Ends, size: int, tokens: int, data: st.DataObject) -> None:
    """Empty, shorter than a shingle, at the borders of stretches, longer than a pass; test sets that are found, and one not."""
    long = sorted(documents, key=len)[-2:]
    sets = sets_of(*(document[3:] for document in long), [9] * 20, [])
    options = data.draw(st.sampled_from([{}, {"lazy": False}, {"reverse": True}, {"width": 32}, {"width": 1024}]))
    device = HostDevice(**options)
    check(OnDevice(device, Asked(VOCABULARY, size, sets), tokens), flat(documents, ends))
    assert device.intact()


@pytest.mark.parametrize(
    "asked",
    [Asked(VOCABULARY), Asked(size=8), Asked(known=sets_of([1, 2] * 10)), Asked()],
    ids=["counts", "signatures", "sets", ""],
)
def test_one_fact_alone_and_none(asked: Asked) -> None:
    device = HostDevice()
    told = check(OnDevice(device, asked, 100), flat([[1, 2] * 15, [], [3] * 70], Ends(bos=True, eos=True, marked=False)))
    assert (told.counts.any(), told.signatures.size > 0, len(told.matches.sets)) == (
        asked.vocab_size > 0, asked.size > 0, len(asked.known.names),
    )  # fmt: skip
    kernels = {"count_ids": asked.vocab_size, "deal_shingles": asked.size, "find_runs": len(asked.known.names)}
    assert [name for name in kernels if name in device.launches] == [name for name, wanted in kernels.items() if wanted]


@pytest.fixture(scope="module")
def real(real_texts: list[str], tokenizer_path: Callable[[str], Path]) -> Texts:
    """Real text, with EOS in place, some of it in short documents, and one document of all of it."""
    model = Model((tokenizer_path("qwen3") / "tokenizer.json").read_bytes(), "t")
    cut = [text[:size] for text in real_texts[:60] for size in (3, 40, 9000)]
    tokens = ReferenceEngine(model).encode(pa.array([*cut, "".join(cut)], pa.large_string()))
    return Ends(bos=False, eos=True, marked=False).texts(tokens.ids, tokens.lengths)


def asked_of(real: Texts, size: int = 128) -> Asked:
    return Asked(VOCABULARY, size, sets_of(real.ids[1000:9000].tolist(), [1] * 20, real.ids[20_000:20_100].tolist()))


def test_of_real_text(real: Texts) -> None:
    """In one pass and in some; memory is taken once, and nothing is written beside it."""
    for tokens in (len(real.ids), 9000):
        device = HostDevice(width=1024)
        arithmetic = OnDevice(device, asked_of(real), tokens)
        allocated = device.allocated
        found = check(arithmetic, real).matches
        assert len(found.documents) > 5
        assert set(found.sets.tolist()) == {0, 2}
        check(arithmetic, real)
        assert device.allocated == allocated
        assert device.intact()
    assert device.launches["sign"] > 2 * 5  # passes, of all but the longest document


def test_signatures_of_any_size_fit_into_the_room_for_them(real: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenmill.facts.device.PLACES", 1000)
    for size in (1, 300, 4096):
        device = HostDevice(width=1024)
        arithmetic = OnDevice(device, Asked(size=size))
        some = next(real.groups(3000))
        check(arithmetic, some)
        assert device.launches["sign"] == -(-len(some) // max(1, 1000 // size))


def test_ids_above_the_vocabulary_are_not_counted_beside_it() -> None:
    """They are a mistake that the processor's arithmetic finds."""
    device = HostDevice()
    with pytest.raises(Unavailable, match="2 ids are above the vocabulary's 4"):
        OnDevice(device, Asked(4), 100).tell(flat([[1, 3, 4, 2**31]], Ends(bos=False, eos=False, marked=False)))
    assert device.intact()


# -- with the processor behind it ------------------------------------------------------------------------------------------


class Failing(HostDevice):
    """Does so many launches, and then no more; or lies about what a kernel made."""

    def __init__(self, *, launches: float = float("inf"), lies: str = "") -> None:
        super().__init__(lazy=False)
        self.left, self.lies = launches, lies

    def run(self, kernel: str, threads: int, arguments: tuple[Any, ...]) -> None:
        self.left -= 1
        if self.left < 0:
            raise Unavailable("the GPU has fallen off the bus")
        if kernel != self.lies:
            super().run(kernel, threads, arguments)


@pytest.mark.parametrize("launches", [0, 1, 20, 31])
def test_what_a_device_no_longer_does_the_processor_does(real: Texts, launches: int, caplog: pytest.LogCaptureFixture) -> None:
    device = Failing(launches=launches)
    proved = Proved(asked_of(real), lambda asked: OnDevice(device, asked))
    with caplog.at_level(logging.WARNING):
        for some in real.groups(4000):
            check(proved, some)
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"facts are computed by the processor from here on, the GPU is not used for them: {proved.lost}"]
    assert proved.lost == "the GPU has fallen off the bus"


def test_a_device_that_cannot_be_had(real: Texts) -> None:
    def no_room(asked: Asked) -> Arithmetic:
        raise Unavailable("CUDA_ERROR_OUT_OF_MEMORY")

    proved = Proved(asked_of(real), no_room)
    check(proved, real)
    assert proved.lost == "CUDA_ERROR_OUT_OF_MEMORY"


@pytest.mark.parametrize(
    ("kernel", "wrong"),
    [("count_ids", "counts of ids"), ("permute_shingles", "signatures"), ("tally_runs", "runs of test sets")],
)
def test_a_device_that_lies_is_found_out_at_its_first_documents(real: Texts, kernel: str, wrong: str) -> None:
    proved = Proved(asked_of(real), lambda asked: OnDevice(Failing(lies=kernel), asked))
    for some in real.groups(20_000):
        check(proved, some)
    assert proved.lost == f"its {wrong} are not the processor's"


def test_a_device_that_finds_nothing_is_found_out_where_there_is_nothing(real: Texts) -> None:
    """First documents that hold nothing of a test set would prove nothing of it."""
    proved = Proved(Asked(known=sets_of([1] * 20)), lambda asked: OnDevice(Failing(lies="tally_runs"), asked))
    assert not len(check(proved, real).matches.documents)
    assert proved.lost == "its runs of test sets are not the processor's"


def test_a_device_that_is_right_is_asked_alone_from_then_on(real: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    proved = Proved(asked_of(real), lambda asked: OnDevice(HostDevice(width=1024), asked))
    asked: list[int] = []
    tell = Processor.tell
    monkeypatch.setattr(Processor, "tell", lambda self, texts: (asked.append(len(texts)), tell(self, texts))[1])
    groups = [*real.groups(20_000)]
    told = [proved.tell(some) for some in groups]
    assert asked == 2 * [len(groups[0])]
    assert len(told) > 3
    assert proved.lost is None
