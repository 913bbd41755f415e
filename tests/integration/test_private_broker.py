"""The broker of `tokenmill run`."""

import tempfile
from pathlib import Path

import pytest

from producer.local import PrivateBroker
from producer.queue import BatchQueue


def test_a_deep_temporary_folder_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch systems set TMPDIR to paths that no socket can have."""
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with PrivateBroker() as broker:
        assert BatchQueue(broker.url).ping()
    assert not list(deep.iterdir())
