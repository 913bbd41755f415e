"""A list of sources in a file: `@corpora/list.txt`, or `--sources-from corpora/list.txt`.

Comes in: the list's URL. Goes out: the sources in it, absolute, with the place that names each. Always holds: one a line, read
as it stands but for the end of the line; blank lines and lines that begin with # are passed over (`./#odd` for a file of that
name); what is no path from the root and no URL lies below the list's own folder. A list never names another, and one that a
web server or a hub keeps names no path of this machine.
"""

from collections.abc import Iterator

from tokenmill import storage
from tokenmill.errors import BatchError, UsageError

MARK = "@"


def is_list(source: str) -> bool:
    """Whether a source is the list of others."""
    return source.startswith(MARK)


def absolute(source: str) -> str:
    """A list's name from every working directory."""
    return MARK + storage.absolute(source.removeprefix(MARK))


def sources(name: str) -> Iterator[tuple[str, str]]:
    """The sources that a list names, each with the line it stands in. Raises UsageError if the list cannot be read."""
    url = storage.pinned(name.removeprefix(MARK))
    try:
        lines = storage.read(url).decode("utf-8-sig").split("\n")
    except BatchError as error:
        raise UsageError(str(error)) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{url} is no list of sources: it is not UTF-8 ({error.reason} at byte {error.start}).") from error
    folder, found = url.rpartition("/")[0], False
    for number, line in enumerate(lines, start=1):
        source = line.removesuffix("\r")
        if not source.strip() or source.startswith("#"):
            continue
        found, place = True, f"{url}, line {number}"
        if is_list(source):
            raise UsageError(f"{place}: a list cannot name another list. Give both on the command line, or write ./{source}.")
        local = source.startswith(("/", "~", "file://"))
        if local and not storage.is_writable(url):
            raise UsageError(f"{place}: a list from elsewhere cannot name {source!r} of this machine. Copy it to a folder.")
        yield storage.absolute(source if local or "://" in source else storage.join(folder, source)), place
    if not found:
        raise UsageError(f"{url} names no source. Write one path or URL a line.")
