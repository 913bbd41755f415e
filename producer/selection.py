"""Which of the files that sources name are taken: `--include` and `--exclude`.

Comes in: globs. Goes out: for each file, whether it is taken: one include matches it, if there are any, and no exclude does.
Always holds: a glob without a slash is matched against the file's name; one with `://` in it or a slash at its start against
the whole URL or path; any other against the path below the folder that was named, where `**` stands for any number of folders.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from tokenmill.errors import UsageError
from tokenmill.storage.remote import matches


@dataclass(frozen=True, slots=True)
class Selection:
    """Without globs, everything."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for option, globs in (("--include", self.include), ("--exclude", self.exclude)):
            if any(not glob or glob.endswith("/") for glob in globs):
                raise UsageError(f"{option} with an empty glob, or one that ends with a slash, names no file. Write 'a/**'.")

    def takes(self, url: str, name: str) -> bool:
        """Args:
        name: its path below the folder that was named.
        """
        wanted = not self.include or any(_fits(url, name, glob) for glob in self.include)
        return wanted and not any(_fits(url, name, glob) for glob in self.exclude)

    def says(self) -> str:
        """The options, for people."""
        return " ".join([f"--include {glob!r}" for glob in self.include] + [f"--exclude {glob!r}" for glob in self.exclude])


def _fits(url: str, name: str, glob: str) -> bool:
    if "/" not in glob:
        return fnmatchcase(name.rpartition("/")[2], glob)
    return matches(url if "://" in glob or glob.startswith("/") else name, glob)
