"""A real web server on loopback that can do what servers on the web do: cut, slow, refuse, redirect, lie, and change a file."""

import hashlib
import re
import threading
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


@dataclass
class File:
    """A file, and how it is served."""

    data: bytes
    ranges: bool = True
    #: The file's ETag is that of its content; or none, and a date instead; or neither.
    mark: str = "etag"
    modified: float = 1_700_000_000.0
    headers: dict[str, str] = field(default_factory=dict)
    #: This many answers end after `after` bytes of their body.
    cuts: int = 0
    after: int = 0
    #: Answers with these statuses and headers come first.
    troubles: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    #: What a range is answered with, in place of the truth.
    lie: str = ""
    #: Told at each answer, before it is made; may change the file.
    watch: Any = None

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha1(self.data).hexdigest()}"'


class WebServer(ThreadingHTTPServer):
    """Serves `files` by path, and notes what was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files: dict[str, File] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, path: str, data: bytes, **how: Any) -> str:
        """Serve a file from here on; its URL."""
        self.files[path] = File(data, **how)
        return self.url + path

    def ranges(self, path: str) -> list[str]:
        """Which ranges of a file were asked for."""
        return [headers.get("Range", "") for asked, headers in self.asked if asked == path]

    def __enter__(self) -> "WebServer":
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever leaves an answer unread is no error."""


class Answer(BaseHTTPRequestHandler):
    server: WebServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(self.path)
        self.server.asked.append((path, dict(self.headers)))
        file = self.server.files.get(path)
        if file is None:
            self._send(404, {}, b"no")
            return
        if file.watch:
            file.watch(file)
        if file.troubles:
            self._send(*file.troubles.pop(0), b"")
            return
        headers = dict(file.headers)
        if file.mark == "etag":
            headers["ETag"] = file.etag
        if file.mark in ("etag", "date"):
            headers["Last-Modified"] = formatdate(file.modified, usegmt=True)
        if file.mark == "weak":
            headers["ETag"] = "W/" + file.etag
        self._body(file, headers)

    def _body(self, file: File, headers: dict[str, str]) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if file.ranges else None
        condition = self.headers.get("If-Range")
        if asked and condition not in (None, headers.get("ETag"), headers.get("Last-Modified")):
            asked = None
        if not asked:
            self._send(200, headers, file.data, file)
        elif int(asked[1]) >= len(file.data):
            self._send(416, {**headers, "Content-Range": f"bytes */{len(file.data)}"}, b"", file)
        else:
            start, stop = int(asked[1]), min(int(asked[2]) + 1, len(file.data))
            said = file.lie or f"bytes {start}-{stop - 1}/{len(file.data)}"
            self._send(206, {**headers, "Content-Range": said}, file.data[start:stop], file)

    def _send(self, status: int, headers: dict[str, str], body: bytes, file: File | None = None) -> None:
        cut = file is not None and file.cuts > 0 and len(body) > file.after  # before anybody hears of this answer
        if file is not None and cut:
            file.cuts -= 1
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if file is not None and cut:
            body, self.close_connection = body[: file.after], True
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
