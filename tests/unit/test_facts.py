"""What `facts/` says of documents, against the plainest way to say it, and MinHash against what documents have in common."""

import itertools
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmill.engines import from_lengths
from tokenmill.engines.reference import ReferenceEngine
from tokenmill.facts import Processor, minhash
from tokenmill.facts.contamination import Contamination
from tokenmill.facts.contract import Asked
from tokenmill.facts.minhash import Minhash, signatures
from tokenmill.facts.shingles import MULTIPLIER, shingles
from tokenmill.facts.testsets import Known, runs_of
from tokenmill.facts.texts import GROUP_TOKENS, Ends, Texts
from tokenmill.tokenizers import Model

MODULO = 1 << 64
PLAIN = Ends(bos=False, eos=False, marked=False)
#: Documents of few different ids, so that runs repeat.
DOCUMENTS = st.lists(st.lists(st.one_of(st.integers(0, 3), st.integers(0, 2**31 - 1)), min_size=2, max_size=40), max_size=12)


def flat(documents: list[list[int]], ends: Ends = PLAIN) -> Texts:
    ids = np.array([token for document in documents for token in document], np.uint32)
    return ends.texts(ids, np.array([len(document) for document in documents], np.int64))


def number(run: list[int]) -> int:
    total = 0
    for token in run:
        total = (total * 0xD1342543DE82EF95 + token + 1) % MODULO
    return total


def mix(number: int) -> int:
    number = (number + 0x9E3779B97F4A7C15) % MODULO
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 % MODULO
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB % MODULO
    return number ^ (number >> 31)


def plainly(document: list[int], size: int) -> list[int]:
    """The signature as the module's first lines define it."""
    runs = [document[n : n + 5] for n in range(max(len(document) - 4, min(1, len(document))))]
    hashes = [mix(number(run)) for run in runs]
    kept: dict[int, int] = {}
    for turn in range(4):
        dealt: dict[int, int] = {}
        for h in (mix((number(run) + turn * 0x9E3779B97F4A7C15) % MODULO) for run in runs):
            place = (h >> 32) * size >> 32
            dealt[place] = min(dealt.get(place, MODULO), h & 0xFFFFFFFF)
        kept = {**dealt, **kept}
    for place in range(size):
        a, b = mix(2 * place) | 1, mix(2 * place + 1)
        if place not in kept:
            kept[place] = min(((h * a + b) % MODULO >> 32 for h in hashes), default=0xFFFFFFFF)
    return [kept[place] for place in range(size)]


@given(DOCUMENTS, st.integers(1, 14), st.integers(1, 50), st.booleans(), st.booleans())
def test_every_run_of_a_text_has_its_number(documents: list[list[int]], width: int, block: int, bos: bool, eos: bool) -> None:
    expected = [
        (n, number(text[i : i + width]))
        for n, document in enumerate(documents)
        for text in [document[int(bos) : len(document) - int(eos)]]
        for i in range(len(text) - width + 1)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tokenmill.facts.shingles.BLOCK", block)
        parts = list(shingles(flat(documents, Ends(bos, eos, marked=False)), width))
    found = [pair for part in parts for pair in zip(part.documents.tolist(), part.numbers.tolist(), strict=True)]
    assert found == expected


@settings(max_examples=40)
@given(DOCUMENTS, st.integers(1, 40), st.integers(1, 50), st.integers(1, 50))
def test_signatures_are_as_defined(documents: list[list[int]], size: int, block: int, together: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tokenmill.facts.shingles.BLOCK", block)
        patch.setattr(minhash, "BLOCK", block)
        patch.setattr(minhash, "TOGETHER", together)
        found = signatures(flat([[], *documents, []]), size)
    assert found.tolist() == [plainly(document, size) for document in ([], *documents, [])]


def test_a_common_size_is_as_defined(real_ids: list[list[int]]) -> None:
    some = [document[:n] for document, n in zip(real_ids, itertools.cycle((3, 30, 300)), strict=False)][:12]
    assert signatures(flat(some), 128).tolist() == [plainly(document, 128) for document in some]


@pytest.fixture(scope="module")
def real_ids(real_texts: list[str], tokenizer_path: Callable[[str], Path]) -> list[list[int]]:
    model = Model((tokenizer_path("qwen3") / "tokenizer.json").read_bytes(), "t")
    tokens = ReferenceEngine(model).encode(pa.array([text[:12_000] for text in real_texts], pa.large_string()))
    return [tokens.document(n).tolist() for n in range(len(tokens))]


def test_equal_places_estimate_what_documents_have_in_common(real_ids: list[list[int]]) -> None:
    """Real text with some of its lines' worth of ids replaced, short and long: the error is that of 128 permutations."""
    draw = random.Random(1)
    errors, biases = [], []
    for document, other in zip(real_ids, real_ids[1:] + real_ids[:1], strict=True):
        for length in (40, 200, 3000):
            text, strange = document[:length], other[:length]
            if len(text) < 30:
                continue
            share = draw.random()
            cut = [strange[n : n + 20] if draw.random() < share else text[n : n + 20] for n in range(0, len(text), 20)]
            changed = [token for part in cut for token in part]
            one, two = ({tuple(ids[n : n + 5]) for n in range(len(ids) - 4)} for ids in (text, changed))
            if not two:
                continue
            truth = len(one & two) / len(one | two)
            pair = signatures(flat([text, changed]), 128)
            estimate = float((pair[0] == pair[1]).mean())
            errors.append((estimate - truth) ** 2 / max(truth * (1 - truth) / 128, 1e-9) if 0.02 < truth < 0.98 else 0)
            biases.append(estimate - truth)
            assert truth > 0 or estimate == 0
    used = [error for error in errors if error]
    assert len(used) > 100
    # the squared error in units of a binomial's variance, which is that of 128 independent permutations
    assert 0.3 < float(np.mean(used)) < 1.3
    assert abs(float(np.mean(biases))) < 0.01


@settings(max_examples=25)
@given(DOCUMENTS, st.lists(st.integers(0, 12), max_size=4))
def test_bytes_do_not_tell_how_documents_came(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], cuts: list[int]
) -> None:
    """In one call or in many, in groups of any size; row groups are full but for the last."""
    base, made = tmp_path_factory.mktemp("facts"), []
    for name, places in (("one", []), ("many", sorted(cuts))):
        with pytest.MonkeyPatch.context() as patch, Minhash(str(base / name), 0, 4) as file:
            patch.setattr(file._file, "_group", 3)
            for start, stop in itertools.pairwise([0, *places, len(documents)]):
                for group in flat(documents[start:stop]).groups(7 if places else GROUP_TOKENS):
                    file.add(group, Processor(Asked(size=4)).tell(group))
            file.publish()
        made.append((base / name / "facts/000000.minhash.parquet").read_bytes())
    assert made[0] == made[1]
    table = pq.read_table(base / "one/facts/000000.minhash.parquet")
    assert table["document"].to_pylist() == list(range(len(documents)))
    assert table["signature"].to_pylist() == [plainly(document, 4) for document in documents]


@given(DOCUMENTS, st.lists(DOCUMENTS, min_size=1, max_size=3), st.integers(1, 60), st.booleans())
def test_what_is_found_of_test_sets_is_as_defined(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], sets: list[list[list[int]]], block: int, eos: bool
) -> None:
    """Test sets of texts, and of parts of the documents themselves."""
    sets = [[*one, *(document[3:-2] for document in documents[n :: len(sets)])] for n, one in enumerate(sets)]
    documents = [[*document, *range(9, 9 + len(document)), *document] for document in documents]
    output, counted, names = tmp_path_factory.mktemp("facts"), Counter[str](), tuple(f"set-{n}" for n in range(len(sets)))
    runs = tuple(runs_of(from_lengths(flat(one).ids, flat(one).lengths)) for one in sets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tokenmill.facts.shingles.BLOCK", block)
        asked = Asked(known=Known(names, runs))
        with Contamination(str(output), 0, asked.known, counted) as file:
            for start in range(0, len(documents), 5):
                some = flat(documents[start : start + 5], Ends(bos=False, eos=eos, marked=False))
                file.add(some, Processor(asked).tell(some))
            file.publish()
    found = [tuple(row.values()) for row in pq.read_table(output / "facts/000000.contamination.parquet").to_pylist()]
    plain = [document[: len(document) - eos] for document in documents]
    assert found == list(contaminated(plain, dict(zip(names, sets, strict=True))))
    assert counted == Counter(row[1] for row in found)


def contaminated(documents: list[list[int]], sets: dict[str, list[list[int]]]) -> Iterator[tuple[int, str, int, int, int]]:
    """The rows as the module's first lines define them."""
    runs = {name: {tuple(text[n : n + 13]) for text in some for n in range(len(text) - 12)} for name, some in sets.items()}
    for number, document in enumerate(documents):
        for name, known in runs.items():
            places = [n for n in range(len(document) - 12) if tuple(document[n : n + 13]) in known]
            covered = {n + k for n in places for k in range(13)}
            if places:
                yield number, name, len(places), len(covered), len(document)


def test_the_multiplier_is_the_documented_one() -> None:
    assert f"{MULTIPLIER:#018x}" == "0xd1342543de82ef95"


MANY = """
import resource, sys
from collections import Counter
import numpy as np
from tokenmill.engines import from_lengths
from tokenmill.facts import Asked, Known, Processor
from tokenmill.facts.contamination import Contamination
from tokenmill.facts.histograms import Histograms
from tokenmill.facts.minhash import Minhash
from tokenmill.facts.testsets import runs_of
from tokenmill.facts.texts import Ends
from tokenmill.facts.writer import FactsWriter

class Nowhere:
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def append(self, *_): pass
    def publish(self): return ()

draw = np.random.default_rng(1)
ids = draw.integers(0, 50_000, 1 << 20, np.uint32)
lengths = np.full(1 << 14, 1 << 6)
sets = Known(("quiz",), (runs_of(from_lengths(ids[::7].copy(), np.array([len(ids[::7])]))),))
facts = [Histograms(sys.argv[1], 0, 50_000), Minhash(sys.argv[1], 0, 128), Contamination(sys.argv[1], 0, sets, Counter())]
with FactsWriter(Nowhere(), Ends(True, True, False), facts, Processor(Asked(50_000, 128, sets))) as writer:
    for number in range(12):
        if number == 3:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        writer.append(np.roll(ids, number), lengths)
    writer.publish()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_facts_of_any_number_of_documents_take_the_memory_of_a_column(tmp_path: Path) -> None:
    """75 MB of signatures, in a process that may grow by 24."""
    done = subprocess.run([sys.executable, "-c", MANY, tmp_path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 24
