"""A table of a TOML file, as errors name it: file, line, key, and what to do.

Comes in: a file's text, and which of its tables is meant. Goes out: where a key stands, absolute paths, errors. Always holds: a
key that means nothing is refused with its line and a remedy; relative paths start at the file's folder.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenmill.errors import UsageError


def text_of(path: str) -> str:
    """A TOML file's text. Raises UsageError if there is none."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def parsed(path: str, text: str) -> dict[str, Any]:
    """What stands in a TOML file. Raises UsageError, with the line, if it is none."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no TOML: {error}.") from None


@dataclass(frozen=True, slots=True)
class TomlTable:
    """One table of a file."""

    path: str
    text: str
    #: The table's header, such as `[schedule.job]`, and how many of those stand before it; the whole file without.
    header: str = ""
    number: int = 0

    def at(self, key: str) -> str:
        """File, line and name of a key."""
        line = self._line(key)
        return f"{self.path}, line {line}: {key}" if line else f"{self.path}: {key}"

    def before(self, header: str) -> int:
        """How many tables of a header stand above this one."""
        count, met = 0, -1
        for _, written in self._lines():
            met += bool(written) and written == self.header
            if self.header == "" or met == self.number:
                break
            count += written == header
        return count

    def from_here(self, place: str) -> str:
        """A relative path from the file's folder on; what is none, as it is."""
        list_of, place = ("@", place[1:]) if place.startswith("@") else ("", place)
        local = "://" not in place and not place.startswith(("~", "{env."))
        return list_of + (os.path.normpath(Path(self.path).absolute().parent / place) if local else place)

    def unknown(self, key: str, known: Iterable[str], what: str, remedy: str) -> UsageError:
        """A key that nothing is known of."""
        near = difflib.get_close_matches(key, list(known), 1)
        return UsageError(f"{self.at(key)} is no {what}. {f'Did you mean {near[0]}?' if near else f'{remedy}.'}")

    def _line(self, key: str) -> int | None:
        """Where a key stands, which TOML's parser tells nobody."""
        inside, met = self.header == "", -1
        for line, written in self._lines():
            if written.startswith("["):
                met += written == self.header
                inside = written == self.header and met == self.number
            elif inside and re.match(rf"(['\"]?){re.escape(key)}\1=", written):
                return line
        return None

    def _lines(self) -> Iterable[tuple[int, str]]:
        """The file's lines, from 1 on, without spaces and remarks."""
        for line, text in enumerate(self.text.splitlines(), start=1):
            yield line, re.sub(r"\s", "", text.partition("#")[0])
