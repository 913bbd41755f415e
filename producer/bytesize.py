"""Sizes as people write them: 500MB, 2GiB, 1048576."""

import re

from tokenmill.errors import UsageError

UNITS: dict[str, int] = {"": 1, "b": 1} | {
    f"{prefix}{'i' if base == 1024 else ''}b": base**power
    for power, prefix in enumerate("kmgtp", start=1)
    for base in (1000, 1024)
}


def parsed(text: str, option: str) -> int:
    """The bytes of a size. Raises UsageError that names `option`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]*)", text.strip())
    unit = UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None or (size := round(float(found[1]) * unit)) < 1:
        raise UsageError(f"{option} {text!r} is no size. Write 500MB, 500MiB (of 1,048,576 each), or a number of bytes.")
    return size


def written(size: float) -> str:
    """Bytes for people, in powers of ten."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == "B" or size >= 100 else f"{size:,.1f} {unit}"
