"""The reader's view of packed rows: boundaries, masks and padding are those of the documents that were packed."""

import tempfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sealed import counting, seal
from tokenmill import TokenDataset
from tokenmill.errors import JobError, UsageError
from tokenmill.reader import FIELDS, IGNORED, Batches, Shuffle, boundaries
from tokenmill.shards import FORMATS
from tokenmill.spec import Packing

PAD = 60_000
SHARDS = st.lists(st.lists(st.integers(0, 12), max_size=6), min_size=1, max_size=4)


def opened(lengths: list[list[int]], length: int, method: str, **options: Any) -> TokenDataset:
    """A packed job whose ids are their own places in the stream of its documents."""
    folder = tempfile.mkdtemp()
    seal(folder, counting(*lengths), pack=Packing(length=length, method=method, pad_token="<pad>"), pad_id=PAD, **options)
    return TokenDataset(folder)


def expected(lengths: list[list[int]], stored: list[list[int]], masked: bool, cross: bool) -> dict[str, Any]:
    """What these rows hold, token by token: an id says which document it is of."""
    document = [number for number, n in enumerate(n for shard in lengths for n in shard) for _ in range(n)]
    rows: dict[str, list[Any]] = {field: [] for field in FIELDS}
    for ids in stored:
        whose = [-1 if token == PAD else document[token] for token in ids]
        positions: list[int] = []
        targets: list[int] = []
        for place, (token, own) in enumerate(zip(ids, whose, strict=True)):
            same = place > 0 and own == whose[place - 1] >= 0
            positions.append(positions[-1] + 1 if same else 0)
            following = ids[place + 1] if place + 1 < len(ids) else PAD
            learned = PAD not in (token, following) and (cross or own == document[following])
            targets.append(following if learned and not (masked and following % 2 == 0) else IGNORED)
        rows["input_ids"].append(ids)
        rows["targets"].append(targets)
        rows["document_ids"].append(whose)
        rows["position_ids"].append(positions)
        rows["attention_mask"].append([int(own >= 0) for own in whose])
        rows["loss_mask"].append([int(target != IGNORED) for target in targets])
    return rows


@settings(deadline=None)
@given(
    lengths=SHARDS,
    length=st.integers(1, 14),
    method=st.sampled_from(["concatenate", "best-fit"]),
    masked=st.booleans(),
    cross=st.booleans(),
    name=st.sampled_from(["megatron", "parquet"]),  # one whose ids lie end to end, and one whose do not
)
def test_rows_are_those_that_were_packed(
    lengths: list[list[int]], length: int, method: str, masked: bool, cross: bool, name: str
) -> None:
    if method == "best-fit":
        lengths = [[min(n, length) for n in shard] for shard in lengths]
    dataset = opened(lengths, length, method, mask=masked, format=name)
    rows = dataset.sequences(length, fields=FIELDS, cross_documents=cross)
    readers = [FORMATS[name].reader(dataset.output, index) for index in range(len(lengths))]
    stored = [reader[row].tolist() for reader in readers for row in range(len(reader))]
    assert len(rows) == len(stored)
    wanted = expected(lengths, stored, masked, cross)
    batch = rows.gather(np.arange(len(rows)))
    assert {field: values.tolist() for field, values in batch.items()} == wanted
    for number in range(len(rows)):
        assert {field: values.tolist() for field, values in rows[number].items()} == {f: v[number] for f, v in wanted.items()}
    assert rows.padding == sum(row.count(PAD) for row in stored)
    assert [ids.tolist() for ids in dataset] == [document for shard in counting(*lengths) for document in shard]

    found = boundaries(batch["position_ids"], batch["attention_mask"])
    assert len(found) == sum(len(set(row) - {-1}) for row in wanted["document_ids"]) + 1
    assert found[-1] == sum(map(sum, lengths))


def test_batches_of_rows_take_every_row_once_and_go_on_where_they_were() -> None:
    rows = opened([[3, 9, 1, 30], [8, 2, 5, 7]], 10, "concatenate").sequences()
    batches = Batches(rows, 2, shuffle=Shuffle(seed=1))
    seen = [batch["input_ids"] for batch in batches]
    assert sorted(np.concatenate(seen)[:, 0].tolist()) == sorted(rows.gather(np.arange(len(rows)))["input_ids"][:, 0].tolist())
    again = Batches(rows, 2, shuffle=Shuffle(seed=1))
    again.load_state_dict(batches.state_dict(2))
    assert [batch["input_ids"].tolist() for batch in again] == [ids.tolist() for ids in seen[1:]]
    other = opened([[3, 9, 1, 30], [8, 2, 5, 7]], 20, "concatenate").sequences()
    with pytest.raises(JobError, match=r"'length': 10.*'length': 20"):
        Batches(other, 2, shuffle=Shuffle(seed=1)).load_state_dict(batches.state_dict(2))


def test_what_is_no_row_of_the_job_is_refused() -> None:
    dataset = opened([[3, 9]], 10, "concatenate")
    with pytest.raises(UsageError, match=r"length is 8; .* was packed into rows of 10"):
        dataset.sequences(8)
    for view in (lambda: dataset.windows(10), lambda: dataset.windows(4, cross_documents=False), dataset.documents):
        with pytest.raises(UsageError, match=r"was packed into rows of 10: .* Use sequences\(10\)"):
            view()
    folder = tempfile.mkdtemp()
    seal(folder, counting([3, 9]))
    with pytest.raises(UsageError, match=r"is not packed \(tokenmill run --pack LENGTH\). Use windows\(\) or documents\(\)"):
        TokenDataset(folder).sequences()
