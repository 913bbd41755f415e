"""The broker's address: who it is must be known before it is told a password, and no message repeats a password."""

import pytest

from tokenmill.broker import BatchMessage, checked, without_password
from tokenmill.errors import UsageError
from tokenmill.settings import Settings

REQUIRED = "ssl_cert_reqs=required"


SAFE = [
    "redis://:pw@127.0.0.1:6379/0",
    "redis://localhost",
    "redis://[::1]:1/0",
    "redis://127.8.8.8",
    "redis:///0",
    "redis+socket://:pw@/run/broker.sock?virtual_host=1",
    f"rediss://u:p%2Fw@broker.example:6379/0?{REQUIRED}&ssl_ca_certs=/ca.pem",
]


@pytest.mark.parametrize("broker", SAFE)
def test_safe_as_it_stands(broker: str) -> None:
    assert checked(broker, plain=False) == broker


COMPLETED = [
    ("rediss://:pw@broker.example:6379/0", f"rediss://:pw@broker.example:6379/0?{REQUIRED}"),
    ("rediss://b/0?ssl_ca_certs=/ca.pem", f"rediss://b/0?ssl_ca_certs=/ca.pem&{REQUIRED}"),
    ("rediss://127.0.0.1/0", f"rediss://127.0.0.1/0?{REQUIRED}"),
]


@pytest.mark.parametrize(("broker", "as_used"), COMPLETED)
def test_tls_always_asks_who_answers(broker: str, as_used: str) -> None:
    """kombu takes any certificate where the URL does not say `ssl_cert_reqs`."""
    assert checked(broker, plain=False) == as_used


REFUSED = [
    ("redis://:secret@broker.example:6379/0", "another host, broker.example: its password would travel unencrypted"),
    ("redis://10.0.0.1", "TOKENMILL_PLAIN_BROKER=1"),
    ("redis://:secret@127.0.0.1.example/0", "unencrypted"),
    ("redis://localhost@broker.example/0", "unencrypted"),
    ("rediss://:secret@b/0?ssl_cert_reqs=none", "without knowing who answers"),
    ("rediss://:secret@b/0?ssl_cert_reqs=optional", "without knowing who answers"),
    ("rediss://:secret@b/0?ssl_cert_reqs=required&ssl_check_hostname=false", "without knowing who answers"),
]
MALFORMED = [
    ("redis://:se/cret@127.0.0.1:6379/0", "%2F for /"),
    ("redis://:12/secret@127.0.0.1:6379/0", "%2F for /"),
    ("redis://:1?secret@127.0.0.1:6379/0", "%2F for /"),
    ("redis://:1#secret@127.0.0.1:6379/0", "%2F for /"),
    ("redis://:sec[ret@127.0.0.1:6379/0", "%2F for /"),
    ("redis://:secret@127.0.0.1:port/0", "%2F for /"),
    ("redis://127.0.0.1/0?password=secret", "%2F for /"),
    ("redis://:secret@127.0.0.1/0;redis://:secret@b/0", "one redis://"),
    ("secret", "is no URL of a broker"),
    ("amqp://:secret@b", "is no URL of a broker"),
    ("redis:secret", "is no URL of a broker"),
]


@pytest.mark.parametrize(("broker", "said"), REFUSED + MALFORMED)
def test_refused_and_the_password_is_not_repeated(broker: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENMILL_BROKER", broker)
    with pytest.raises(UsageError) as refusal:
        Settings.from_environment()
    assert said in str(refusal.value)
    assert "secret" not in str(refusal.value)
    assert "cret" not in str(refusal.value).replace("encrypted", "")


@pytest.mark.parametrize("broker", [broker for broker, _ in REFUSED])
def test_what_is_unsafe_can_be_asked_for(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENMILL_BROKER", broker)
    monkeypatch.setenv("TOKENMILL_PLAIN_BROKER", "1")
    assert Settings.from_environment().broker == broker


def test_what_makes_no_sense_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENMILL_PLAIN_BROKER", "maybe")
    with pytest.raises(UsageError, match="TOKENMILL_PLAIN_BROKER is 'maybe'; give 1 for yes, or 0"):
        Settings.from_environment()


SHOWN = [
    ("redis://:s3cret@h:1/0", "redis://:…@h:1/0"),
    ("redis://u:s3cret@h:1/0", "redis://u:…@h:1/0"),
    ("redis://u:s3@cret@h/0", "redis://u:…@h/0"),
    ("redis://u:u@u/0", "redis://u:…@u/0"),
    ("redis+socket://:s3cret@/s.sock?virtual_host=1", "redis+socket://:…@/s.sock?virtual_host=1"),
    ("redis://h:1/0", "redis://h:1/0"),
]


@pytest.mark.parametrize(("broker", "shown"), SHOWN)
def test_a_broker_is_shown_without_its_password(broker: str, shown: str) -> None:
    assert without_password(broker) == shown


MESSAGE = ("0123456789abcdef", "/data/out", 0)
FORGED: list[tuple[int, object]] = [
    *((0, value) for value in ("../../../../etc/x", "0123456789abcdef\n", "0123456789ABCDEF", "", 7, None, [MESSAGE[0]])),
    *((1, value) for value in (None, 3, ["/data/out"], {"a": 1})),
    *((2, value) for value in (-1, True, 1.0, "1", None, 10**10, 10**4000)),
]


@pytest.mark.parametrize(("position", "value"), FORGED, ids=[f"{position}-{str(value)[:20]}" for position, value in FORGED])
def test_a_message_of_another_shape_cannot_be_made(position: int, value: object) -> None:
    job_id, output, batch = (*MESSAGE[:position], value, *MESSAGE[position + 1 :])
    with pytest.raises(UsageError) as refusal:
        BatchMessage(job_id=job_id, output=output, batch=batch)  # type: ignore[arg-type]
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 300
