"""The kernels' headers, compiled once per process."""

import pytest

from tests.cuda.header import Header


@pytest.fixture(scope="session")
def header(tmp_path_factory: pytest.TempPathFactory) -> Header:
    """As it is shipped."""
    return Header(tmp_path_factory.mktemp("header"))


@pytest.fixture(scope="session")
def short_sighted(tmp_path_factory: pytest.TempPathFactory) -> Header:
    """With threads that walk 8 bytes behind their chunk and no further."""
    return Header(tmp_path_factory.mktemp("short"), FARTHEST=8)
