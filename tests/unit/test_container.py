"""What a container's memory is, from the files of both versions of control groups; the counts are of real files."""

from pathlib import Path

import pytest

from workers.container import Memory, memory

STAT = "anon 300000000\nfile 200000000\ninactive_file 150000000\nactive_file 50000000\n"
V1_STAT = "cache 200000000\ninactive_file 1\ntotal_inactive_file 150000000\n"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def v2(limit: str, below: str = "") -> dict[str, str]:
    place = f"sys/fs/cgroup/{below}"
    return {
        f"{place}memory.current": "500000000\n",
        f"{place}memory.max": f"{limit}\n",
        f"{place}memory.stat": STAT,
        f"{place}memory.events": "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n",
    }


def v1(limit: str, below: str = "") -> dict[str, str]:
    place = f"sys/fs/cgroup/memory/{below}"
    return {
        f"{place}memory.usage_in_bytes": "500000000\n",
        f"{place}memory.limit_in_bytes": f"{limit}\n",
        f"{place}memory.stat": V1_STAT,
        f"{place}memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    }


FOUND = Memory(bytes=350_000_000, limit=1 << 30, oom_kills=2)
V1_LINES = "12:pids:/docker/abc\n4:cpu,memory:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n"


@pytest.mark.parametrize(("group", "files", "found"), [
    ("0::/\n", v2("1073741824"), FOUND),  # a container with a name space of its own
    ("0::/system.slice/tokenmill.service\n", v2("1073741824", "system.slice/tokenmill.service/"), FOUND),
    ("0::/../../docker/abc\n", v2("1073741824"), FOUND),  # seen from a name space beside it
    ("0::/\n", v2("max"), None),
    (V1_LINES, v1("1073741824"), FOUND),  # mounted as if it were the top one
    (V1_LINES, v1("1073741824", "docker/abc/") | v1("9223372036854771712"), FOUND),
    (V1_LINES, v1("9223372036854771712"), None),
    (V1_LINES, v1("1073741824") | {"sys/fs/cgroup/memory/memory.oom_control": "under_oom 0\n"},
     Memory(bytes=350_000_000, limit=1 << 30, oom_kills=0)),  # before Linux 4.13
    ("0::/\n", {}, None),
    ("", v2("1073741824"), None),
])  # fmt: skip
def test_memory_is_read_where_there_is_a_limit(group: str, files: dict[str, str], found: Memory | None, tmp_path: Path) -> None:
    assert memory(tree(tmp_path, {"proc/self/cgroup": group, **files})) == found


def test_a_host_without_control_groups_has_none(tmp_path: Path) -> None:
    assert memory(tmp_path) is None


def test_this_host_gives_an_answer() -> None:
    """Whatever it is: its files are read without an error."""
    found = memory()
    assert found is None or 0 <= found.bytes <= found.limit
