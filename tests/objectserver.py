"""A real S3 server, SeaweedFS, on loopback ports with credentials of its own; it can be killed and started again."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from tokenmill.process import die_with_parent
from tokenmill.storage.s3 import connection

#: Ports that the server's parts listen on.
PORTS = tuple(f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc"))
#: The one bucket: each would take volumes of its own.
BUCKET = "tests"
#: Seconds for a start; after a kill it takes 18.
PATIENCE = 60.0


class ObjectServer:
    """One server and its files, for as long as the `with` block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        probes = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
        self._ports = {name: probe.getsockname()[1] for name, probe in zip(PORTS, probes, strict=True)}
        for probe in probes:
            probe.close()
        self.key, self.secret = secrets.token_hex(8), secrets.token_hex(16)
        owner = {"name": "tests", "credentials": [{"accessKey": self.key, "secretKey": self.secret}]}
        (folder / "s3.json").write_text(json.dumps({"identities": [{**owner, "actions": ["Admin", "Read", "Write", "List"]}]}))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return self._ports["s3.port"]

    def environment(self, port: int | None = None) -> dict[str, str]:
        """What points boto3 at this server, or at a proxy before it, and at nothing of this machine's."""
        return {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port or self.port}",
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        """Start it without waiting for it."""
        command = [Path(sys.executable).with_name("weed"), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]
        command += [f"-{name}={port}" for name, port in self._ports.items()]
        command += [f"-dir={self._folder}", f"-s3.config={self._folder}/s3.json", "-s3.autoCreateBucket=false"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false", "-volume.max=20"]
        command += [f"-{part}.localSocket={self._folder}/{part}.sock" for part in ("filer", "s3")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._folder, start_new_session=True, preexec_fn=die_with_parent
            )

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def wait(self) -> None:
        """Wait until the bucket takes objects; the environment must point at this server."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if BUCKET not in {bucket["Name"] for bucket in connection.client().list_buckets()["Buckets"]}:
                    connection.client().create_bucket(Bucket=BUCKET)
                connection.client().put_object(Bucket=BUCKET, Key="alive", Body=b"alive")
                return
            except (BotoCoreError, ClientError):
                assert time.monotonic() < deadline, (self._folder / "log").read_text()[-2000:]
                time.sleep(0.1)

    def __enter__(self) -> "ObjectServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
