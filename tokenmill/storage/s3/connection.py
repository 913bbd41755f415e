"""The connection to S3, and what its errors ask of the caller.

Comes in: the standard AWS environment, profiles and roles, as boto3 finds them by itself. Goes out: one client a process, and
errors of `tokenmill.errors`. Always holds: no message carries a key, a password or a token.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from boto3.session import Session
from botocore import exceptions as boto
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.model import OperationModel
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from tokenmill.errors import BatchError, TokenmillError, TransientError, UsageError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

#: Connections a process keeps open.
CONNECTIONS = 32
#: Tries of one request; botocore waits longer before each. Workers and dispatchers wait on when these are used up.
TRIES = 4
CONNECT_SECONDS, READ_SECONDS = 5, 30

#: An answer that ended before its content did, in mid-body, where botocore itself does not try again.
CUT = (boto.IncompleteReadError, boto.ResponseStreamingError, boto.ReadTimeoutError, HTTPError)
#: Trouble on the way, or of whoever hands out credentials.
AWAY = (
    *CUT,
    boto.HTTPClientError,
    boto.ConnectionError,
    boto.FlexibleChecksumError,
    boto.CredentialRetrievalError,
    boto.MetadataRetrievalError,
    ResponseParserError,
)
#: Everything else that botocore raises is about what it was given: endpoint, profile, credentials, names.
TROUBLE = (*AWAY, boto.BotoCoreError, boto.ClientError)

#: Codes below 500 with which the same request may succeed later.
PASSING = frozenset(
    {
        "BadDigest",
        "ConditionalRequestConflict",
        "NoSuchUpload",  # swept away: the next try begins another one
        "OperationAborted",
        "RequestTimeout",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "XAmzContentSHA256Mismatch",
    }
)
#: Codes that no object below the same bucket and credentials would escape -> what to do.
HOPELESS = {
    "AuthorizationHeaderMalformed": "Set AWS_DEFAULT_REGION to the bucket's region.",
    "ExpiredToken": "Fetch new credentials, then run the same command again.",
    "InvalidAccessKeyId": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, here and where the workers run.",
    "InvalidBucketName": "Name another bucket.",
    "InvalidToken": "Fetch new credentials, then run the same command again.",
    "NotImplemented": "Use a service that knows multipart uploads, If-Match and If-None-Match.",
    "NoSuchBucket": "Create the bucket, name another, or set AWS_ENDPOINT_URL to the service that has it.",
    "RequestTimeTooSkewed": "Set this machine's clock.",
    "SignatureDoesNotMatch": "Set AWS_SECRET_ACCESS_KEY to the secret of AWS_ACCESS_KEY_ID, here and where the workers run.",
}


def client() -> "S3Client":
    """This process's client. Raises UsageError if the environment describes none."""
    return _client_of(os.getpid())  # a connection must not be used on both sides of a fork


@lru_cache(maxsize=1)
def _client_of(process: int) -> "S3Client":  # noqa: ARG001  # the key
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": TRIES},
        user_agent_extra="tokenmill",
    )
    try:
        made = Session().client("s3", config=config)
    except (ValueError, boto.BotoCoreError) as error:
        raise UsageError(f"S3 cannot be reached: {_masked(str(error))}. Look at AWS_ENDPOINT_URL and AWS_PROFILE.") from error
    made.meta.events.register("after-call.s3", _whole)
    return made


def _whole(http_response: AWSResponse, model: OperationModel, **_: Any) -> None:
    """Raise an error if an answer ends before its end: botocore takes one cut off after its head for an empty listing."""
    headers = http_response.headers
    if http_response.status_code not in (200, 206) or "Transfer-Encoding" in headers:
        return
    expected = int(headers.get("Content-Length", -1))
    if expected < 0 or not (model.has_streaming_output or model.name == "HeadObject" or expected == len(http_response.content)):
        raise boto.IncompleteReadError(actual_bytes=0, expected_bytes=expected)


def place(url: str) -> tuple[str, str]:
    """Bucket and key of a URL; the key of a whole bucket is empty. Raises UsageError if it names no bucket."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not bucket:
        raise UsageError(f"{url} names no bucket. Write s3://bucket/key.")
    return bucket, key


@contextmanager
def sorted_errors(doing: str, *, writing: bool = False) -> Iterator[None]:
    """Translate what S3 and the way to it say while `doing` something; what nobody may write to is no place for an output."""
    try:
        yield
    except TROUBLE as error:
        raise sort(error, doing, writing=writing) from error


def sort(error: Exception, doing: str, *, writing: bool = False) -> TokenmillError:
    """One error as one of ours."""
    if isinstance(error, boto.ClientError):
        return _refused(error, doing, writing=writing)
    what = f"{doing}: {_masked(str(error))}"
    if isinstance(error, AWAY) and "CERTIFICATE_VERIFY_FAILED" not in what:
        return TransientError(f"{what}.")
    return UsageError(f"{what}. Look at AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and the rest of the AWS environment.")


def _refused(error: boto.ClientError, doing: str, *, writing: bool) -> TokenmillError:
    """What the service answered."""
    code, status = code_of(error), error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
    what = f"{doing}: {error.response['Error'].get('Message', 'refused').rstrip('.')} ({code})"
    if code in HOPELESS:
        return UsageError(f"{what}. {HOPELESS[code]}")
    if status >= 500 or status in (408, 429) or code in PASSING:
        return TransientError(f"{what}.")
    if writing:
        return UsageError(f"{what}. Choose an output that the workers' credentials may write to.")
    return BatchError(f"{what}. Restore it, or allow it to be read, or leave it out, then run the same command again.")


def code_of(error: boto.ClientError) -> str:
    """What the service calls the error; for a HEAD, whose answer has no body, the HTTP status."""
    return error.response["Error"].get("Code", "")


def _masked(text: str) -> str:
    """Without the user and password that a URL may carry."""
    return re.sub(r"://[^/@\s]*@", "://…@", text).rstrip(".")
