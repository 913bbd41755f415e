"""A client for deploy/jupyter, and what any server of it must keep: one on this machine, or one in a container."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http.cookiejar import CookieJar
from typing import Any


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is redirected is seen, not followed."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class JupyterLab:
    """Somebody's browser."""

    host: str
    port: int
    cookies: CookieJar = field(default_factory=CookieJar)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def __call__(self, path: str, *, method: str = "GET", **body: Any) -> Answer:
        """Ask for a path; with a body as JSON."""
        headers = {"Content-Type": "application/json", "X-XSRFToken": self._cookie("_xsrf")}
        return self._ask(
            urllib.request.Request(f"{self.url}{path}", json.dumps(body).encode() if body else None, headers, method=method)
        )

    def log_in(self, password: str) -> Answer:
        """Give the login form a password."""
        self("/login")
        form = urllib.parse.urlencode({"password": password, "_xsrf": self._cookie("_xsrf")}).encode()
        return self._ask(urllib.request.Request(f"{self.url}/login", form))

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            return self("/login").status == 200
        except OSError:
            return False

    def keeps_strangers_out(self, wrong: str) -> None:
        """Nothing without a login, a wrong password is none, a token neither."""
        stranger = JupyterLab(self.host, self.port)
        for path in (
            "/api/contents",
            "/api/kernels",
            "/api/contents?token=",
            "/files/byte_pair_encoding.ipynb",
        ):
            answer = stranger(path)
            assert answer.status == 403 or "/login" in answer.headers["Location"], path
        assert stranger("/api/contents").status == 403
        page = stranger("/lab")
        assert (page.status, page.headers["Location"]) == (302, "/login?next=%2Flab")
        for password in (wrong, ""):
            assert stranger.log_in(password).status == 401
            assert stranger("/api/contents").status == 403

    def lets_in(self, password: str, notebooks: set[str]) -> None:
        """The right password opens the notebooks and starts a kernel; there is no terminal."""
        assert self.log_in(password).status == 302
        found = self("/api/contents").json()["content"]
        assert notebooks <= {entry["name"] for entry in found}
        assert self("/lab").status == 200
        kernel = self("/api/kernels", method="POST", name="python3").json()
        assert self(f"/api/kernels/{kernel['id']}", method="DELETE").status == 204
        assert self("/api/terminals").status == 404

    def guards_pages(self) -> None:
        """Headers: other hosts get nothing from a page and cannot frame it, scripts cannot read the cookie."""
        policy = self("/login").headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        (login,) = (cookie for cookie in self.cookies if cookie.name.startswith("username-"))
        assert login.has_nonstandard_attr("HttpOnly")
        assert login.get_nonstandard_attr("SameSite") == "Strict"

    def is_on_record(self, audit: Callable[[], str], password: str) -> None:
        """Each login, refusal, file and kernel is one line of JSON."""
        JupyterLab(self.host, self.port).log_in("certainly-wrong")
        self.log_in(password)
        self("/api/contents/kept.txt", method="PUT", type="file", format="text", content="x")
        kernel = self("/api/kernels", method="POST", name="python3").json()["id"]
        self(f"/api/kernels/{kernel}", method="DELETE")
        lines = [json.loads(line) for line in audit().splitlines()]
        seen = [
            (line["__schema__"].rsplit("/", 2)[1], line["action"], line.get("path", line.get("kernel_id"))) for line in lines
        ]
        assert ("contents_service", "save", "kept.txt") in seen or ("contents_service", "save", "/kept.txt") in seen, seen
        assert {("kernel_actions", "start", kernel), ("kernel_actions", "shutdown", kernel)} <= set(seen)
        logins = [line["action"] for line in lines if line["action"] in ("login", "refused")]
        assert logins[-2:] == ["refused", "login"]
        assert all(line["__timestamp__"] for line in lines)

    def _cookie(self, name: str) -> str:
        return next((cookie.value or "" for cookie in self.cookies if cookie.name == name), "")

    def _ask(self, request: urllib.request.Request) -> Answer:
        opener = urllib.request.build_opener(NoRedirect, urllib.request.HTTPCookieProcessor(self.cookies))
        try:
            with opener.open(request, timeout=30) as found:
                return Answer(found.status, found.headers, found.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())
