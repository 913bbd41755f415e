"""A Hugging Face hub on loopback that speaks the real one's protocol: a model, datasets by commit, a CDN for their files."""

import hashlib
import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.webserver import WebServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Dataset:
    """The files of a dataset at each commit, and which commit a branch or tag names."""

    commits: dict[str, dict[str, bytes]]
    revisions: dict[str, str]
    #: Who asks without it is told that there is no such dataset, as the real one does.
    token: str = ""
    gated: bool = False


@dataclass
class Reply:
    status: int
    data: Any = b""
    headers: dict[str, str] = field(default_factory=dict)


class Hub(ThreadingHTTPServer):
    """Serves one model, acme/tiny, at one commit, and datasets; notes what was asked for."""

    daemon_threads = True
    #: Entries on a page of a listing; the real one has 1,000.
    page = 3

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = files
        self.datasets: dict[str, Dataset] = {}
        self.cdn: WebServer | None = None
        self.asked: list[str] = []
        #: Replies that come before all others.
        self.troubles: list[Reply] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_POST(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        reply = self._reply(path)
        data = reply.data if isinstance(reply.data, bytes) else json.dumps(reply.data).encode()
        self.send_response(reply.status)
        for name, value in {"X-Repo-Commit": COMMIT, **reply.headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def _reply(self, path: str) -> Reply:
        if self.server.troubles:
            return self.server.troubles.pop(0)
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[:2] == ["api", "datasets"]:
            return self._dataset("/".join(parts[2:4]), parts[4:])
        if parts[0] == "datasets" and parts[3:4] == ["resolve"]:
            return self._dataset("/".join(parts[1:3]), parts[3:])
        file = path.removeprefix(f"/acme/tiny/resolve/{COMMIT}/")
        if path in ("/api/models/acme/tiny", "/api/models/acme/tiny/revision/v1"):
            data = json.dumps({"id": "acme/tiny", "modelId": "acme/tiny", "sha": COMMIT, "siblings": []}).encode()
        elif file in self.server.files:
            data = self.server.files[file]
        else:
            return Reply(404, headers={"X-Error-Code": "EntryNotFound" if "resolve" in path else "RepoNotFound"})
        return Reply(200, data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"'})

    def _dataset(self, name: str, asked: list[str]) -> Reply:
        dataset = self.server.datasets.get(name)
        if dataset is None or (dataset.token and self.headers.get("Authorization") != f"Bearer {dataset.token}"):
            return Reply(401, headers={"X-Error-Code": "RepoNotFound"})
        if dataset.gated:
            return Reply(403, headers={"X-Error-Code": "GatedRepo"})
        verb, revision = (asked + ["revision", "main"][len(asked) :])[:2]
        commit = dataset.revisions.get(revision, revision)
        if commit not in dataset.commits:
            return Reply(404, headers={"X-Error-Code": "RevisionNotFound"})
        files, path = dataset.commits[commit], "/".join(asked[2:])
        if verb == "revision":
            return Reply(200, {"id": name, "sha": commit, "siblings": []})
        if verb == "paths-info":
            body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            return Reply(200, [entry for asked in body["paths"] for entry in _entries(files) if entry["path"] == asked])
        if verb == "tree":
            return self._tree(files, path)
        return self._resolve(files, path)

    def _tree(self, files: dict[str, bytes], folder: str) -> Reply:
        query = parse_qs(urlsplit(self.path).query)
        found = [entry for entry in _entries(files) if entry["path"].startswith(f"{folder}/" if folder else "")]
        if query.get("recursive", ["false"])[0].lower() != "true":
            found = [entry for entry in found if "/" not in entry["path"][len(folder) :].strip("/")]
        if folder and not found:
            return Reply(404, headers={"X-Error-Code": "EntryNotFound"})
        first = int(query.get("cursor", ["0"])[0])
        last, base = first + self.server.page, self.path.partition("?")[0]
        recursive = query.get("recursive", ["false"])[0]
        more = (
            {"Link": f'<{self.server.url}{base}?recursive={recursive}&cursor={last}>; rel="next"'} if last < len(found) else {}
        )
        return Reply(200, found[first:last], more)

    def _resolve(self, files: dict[str, bytes], path: str) -> Reply:
        if path not in files:
            return Reply(404, headers={"X-Error-Code": "EntryNotFound"})
        if not _is_large(path):
            return Reply(200, files[path])  # what lies in git itself comes from the hub, which here knows no ranges
        assert self.server.cdn is not None
        sha256 = hashlib.sha256(files[path]).hexdigest()
        stored = f"/{sha256}?Signature=secret"
        if stored not in self.server.cdn.files:
            self.server.cdn.put(stored, files[path])
        return Reply(302, headers={"Location": self.server.cdn.url + stored, "X-Linked-ETag": f'"{sha256}"'})

    def log_message(self, *_: object) -> None:
        pass


def _is_large(path: str) -> bool:
    return path.endswith((".parquet", ".zst", ".jsonl"))


def _entries(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """Files and folders as the real hub lists them."""
    folders = {"/".join(path.split("/")[:depth]) for path in files for depth in range(1, path.count("/") + 1)}
    found: list[dict[str, Any]] = [{"type": "directory", "oid": "f" * 40, "size": 0, "path": folder} for folder in folders]
    for path, data in files.items():
        entry = {"type": "file", "oid": hashlib.sha1(data).hexdigest(), "size": len(data), "path": path}
        if _is_large(path):
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        found.append(entry)
    return sorted(found, key=lambda entry: str(entry["path"]))
