"""Objects in S3, or in what speaks its language: AWS, MinIO, Ceph, SeaweedFS.

Comes in: `s3://bucket/key`. Goes out: what `tokenmill.storage` promises. Always holds: an object appears whole, by one request
(law 6), and nothing is renamed; a folder is a prefix that ends with a slash; endpoint, region and credentials are those of the
standard AWS environment.
"""

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from botocore.exceptions import ClientError
from numpy.typing import NDArray

from tokenmill.errors import BatchError
from tokenmill.storage import remote
from tokenmill.storage.contract import FileStatus
from tokenmill.storage.parts import ObjectWriter
from tokenmill.storage.ranged import opened
from tokenmill.storage.s3.connection import CUT, client, code_of, place, sorted_errors
from tokenmill.storage.s3.reader import ObjectVersion
from tokenmill.storage.s3.writer import MultipartUpload

#: Who may not see or end unfinished uploads leaves them to the bucket's own rules; that is no reason not to seal a job.
NOT_OURS = frozenset({"AccessDenied", "MethodNotAllowed", "NoSuchUpload", "NotImplemented"})
#: Names, in an object's metadata, the one who claimed it.
CLAIMANT = "tokenmill-claimant"


def absolute(url: str) -> str:
    place(url)
    return url.rstrip("/")


def pinned(url: str) -> str:
    return url  # nothing here has versions to choose from


def status(url: str) -> FileStatus | None:
    bucket, key = place(url)
    if not key:
        return None
    with sorted_errors(f"looking at {url}"):
        try:
            found = client().head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if code_of(error) in ("404", "NoSuchKey"):
                return None
            raise
    return FileStatus(found["ContentLength"], found["ETag"].strip('"'))


def is_folder(url: str) -> bool:
    bucket, prefix = _folder(url)
    with sorted_errors(f"listing {url}"):
        found = client().list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    return not prefix or bool(found["KeyCount"])


def each_name(url: str) -> Iterator[str]:
    bucket, prefix = _folder(url)
    with sorted_errors(f"listing {url}"):
        for page in client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/"):
            yield from (found["Key"][len(prefix) :] for found in page.get("Contents", ()) if found["Key"] != prefix)
            yield from (found["Prefix"][len(prefix) : -1] for found in page.get("CommonPrefixes", ()))


def walk(url: str) -> Iterator[tuple[str, FileStatus]]:
    bucket, prefix = _folder(url)
    return remote.visible(_below(bucket, prefix), f"s3://{bucket}", prefix)


def matching(pattern: str) -> Iterator[tuple[str, FileStatus]]:
    bucket, wanted = place(pattern)
    return remote.matching(_below(bucket, remote.fixed_part(wanted)), f"s3://{bucket}", wanted)


def _below(bucket: str, prefix: str) -> Iterator[tuple[str, FileStatus]]:
    """All objects whose keys begin so, but for those that stand for folders."""
    with sorted_errors(f"listing s3://{bucket}/{prefix}"):
        for page in client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for found in page.get("Contents", ()):
                if not found["Key"].endswith("/"):
                    yield found["Key"], FileStatus(found["Size"], found["ETag"].strip('"'))


def _folder(url: str) -> tuple[str, str]:
    """Bucket and prefix of all that lies in a folder."""
    bucket, key = place(absolute(url))
    return bucket, f"{key}/" if key else ""


@contextmanager
def open_input(url: str, start: int = 0) -> Iterator[BinaryIO]:
    with opened(ObjectVersion(url), start) as file:
        yield file


def read(url: str) -> bytes:
    found = find(url)
    if found is None:
        raise BatchError(f"reading {url}: there is no such object. Restore it or leave it out, then run the command again.")
    return found


def find(url: str) -> bytes | None:
    bucket, key = place(url)
    with sorted_errors(f"reading {url}"):
        try:
            return client().get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            if code_of(error) == "NoSuchKey":
                return None
            raise
        except CUT:
            with open_input(url) as file:
                return file.read()


def find_each(urls: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
    return remote.find_each(find, urls)


def mapped(url: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    return remote.mapped(open_input(url), url, dtype)


def writer(url: str) -> ObjectWriter:
    return ObjectWriter(MultipartUpload(url))


def claim(url: str, data: bytes) -> bool:
    bucket, key = place(url)
    claimant = secrets.token_hex(8)
    with sorted_errors(f"writing {url}", writing=True):
        try:
            client().put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*", Metadata={CLAIMANT: claimant})
            return True
        except ClientError as error:
            if code_of(error) not in ("PreconditionFailed", "412"):
                raise
    # An answer that was lost makes botocore ask again, and find what it has written itself.
    with sorted_errors(f"looking at {url}"):
        return client().head_object(Bucket=bucket, Key=key)["Metadata"].get(CLAIMANT) == claimant


def delete(url: str) -> None:
    bucket, key = place(url)
    with sorted_errors(f"removing {url}", writing=True):
        client().delete_object(Bucket=bucket, Key=key)


def sweep(url: str) -> None:
    bucket, prefix = _folder(url)
    with sorted_errors(f"sweeping {url}", writing=True):
        try:
            for page in client().get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
                for left in page.get("Uploads", ()):
                    if "/" not in left["Key"][len(prefix) :]:
                        client().abort_multipart_upload(Bucket=bucket, Key=left["Key"], UploadId=left["UploadId"])
        except ClientError as error:
            if code_of(error) not in NOT_OURS:
                raise
