"""Which addresses of the web are read, and in what form they go into a plan.

Comes in: a URL as a user, a plan or a redirecting server gives it. Goes out: its one form, or a UsageError. Always holds: no
secret in it (no user, password or query), so that plans and logs may show it; the bytes come over TLS, from this very host, or
over a network that TOKENMILL_PLAIN_HTTP=1 calls safe: anybody else on the way could write the corpus.
"""

from ipaddress import ip_address
from urllib.parse import urljoin, urlsplit

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from tokenmill.broker import is_here
from tokenmill.errors import UsageError
from tokenmill.settings import Settings


def absolute(url: str) -> str:
    """The one form of a URL. Raises UsageError, which repeats no password, if it is none that may be read or written down."""
    try:
        found = parse_url(url)
    except LocationParseError:
        raise UsageError("an https:// source is no URL: its host or port cannot be read. Write https://host/path.") from None
    if found.auth is not None:
        raise UsageError(
            f"{found.scheme}://…@{found.netloc}: a user name or password in a URL would stand in plans and logs. Leave it out "
            f"and admit this host at the server, or copy the files to a folder or a bucket."
        )
    if not found.host:
        raise UsageError(f"{url} names no host. Write https://host/path.")
    plain = f"{found.scheme}://{found.netloc}{found.path or '/'}"
    if found.query is not None or found.fragment is not None:
        raise UsageError(
            f"{plain} has a ? or # behind it: what stands there is often a secret, and would stand in plans and logs. Give the "
            f"file's plain URL (%3F and %23 for the characters in a name), or copy the file to a folder or a bucket."
        )
    _check_safe(plain)
    return plain


def _check_safe(url: str) -> None:
    """Raise UsageError if a URL is http:// across a network that nobody called safe."""
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_here(parts.hostname) and not Settings.from_environment().plain_http:
        raise UsageError(
            f"http://{parts.netloc} is another host without TLS: anybody between could write the corpus. Use https://, or set "
            f"TOKENMILL_PLAIN_HTTP=1, here and where the workers run, where the network between is yours alone."
        )


def _is_inside(host: str | None) -> bool:
    """Whether a host is one that a stranger must not make us ask: an address of this machine, its links or its network."""
    try:
        return is_here(host) or not ip_address(host or "").is_global
    except ValueError:
        return False


def redirected(url: str, location: str, *, trusted: bool) -> str:
    """Where a server at `url` sends us on to. Raises UsageError where nobody may be led.

    Args:
        trusted: whether this server may name any other, below TOKENMILL_ROOTS or not.
    """
    target = urljoin(url, location)
    parts, named = urlsplit(target), f"{urlsplit(target).scheme}://{urlsplit(target).hostname}"
    if parts.scheme not in ("https", "http") or (parts.scheme == "http" and url.startswith("https:")) or parts.username:
        raise UsageError(f"{url} sends us on to {named}, away from TLS or with a password. Name where the file lies itself.")
    if _is_inside(parts.hostname) and not _is_inside(urlsplit(url).hostname):
        raise UsageError(f"{url} sends us on into this network, to {named}; that is refused. Name where the file lies itself.")
    _check_safe(target)
    if not trusted:
        try:
            # what stands behind a ? decides nothing about where it lies
            Settings.from_environment().roots.admit(target.partition("?")[0])
        except UsageError as error:
            raise UsageError(f"{url} sends us on elsewhere: {error}") from None
    return target
