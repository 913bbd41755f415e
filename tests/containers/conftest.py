"""The engine and the stack, each made once for all container tests."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import standins
from tests.containers.engine import Engine, lacking
from tests.containers.stack import Stack

ADDED = Path(__file__).with_name("compose.yml")


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A Docker engine that has every image which the project does not build itself."""
    why = lacking()
    if why is not None:
        pytest.skip(why)
    kept = request.config.getoption("--containers")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("docker")
    with Engine(folder) as started:
        standins.make(started, folder)
        yield started


@pytest.fixture(scope="session")
def stack(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole stack with two worker containers, and an object store beside it."""
    folder = tmp_path_factory.mktemp("stack")
    key, secret = secrets.token_hex(8), secrets.token_hex(16)
    owner = {"name": "tests", "credentials": [{"accessKey": key, "secretKey": secret}]}
    (folder / "objects").mkdir()
    (folder / "objects/s3.json").write_text(
        json.dumps({"identities": [{**owner, "actions": ["Admin", "Read", "Write", "List"]}]})
    )
    made = Stack(
        engine, folder, ADDED,
        OBJECTS_CONFIG=str(folder / "objects"), ROOTS="/data,s3://tokens",
        AWS_ENDPOINT_URL="http://objects:8333", AWS_ACCESS_KEY_ID=key, AWS_SECRET_ACCESS_KEY=secret,
        AWS_DEFAULT_REGION="us-east-1",
        WORKER_PROCESSES="1", WORKER_MEMORY="1g",
    )  # fmt: skip
    made.compose("build", "cpu-worker", timeout=900)
    made.up("broker", "dispatcher", "cpu-worker", "flower", "prometheus", "objects", cpu_worker=2)
    create = "import boto3; boto3.client('s3').create_bucket(Bucket='tokens')"
    made.execute(made.containers("cpu-worker")[0], "python", "-c", create)
    yield made
    made.down()


@pytest.fixture(scope="session")
def image(stack: Stack) -> str:
    """The image that workers, dispatcher and Flower run."""
    return str(stack.inspect(stack.containers("cpu-worker")[0])["Config"]["Image"])
