"""Empty stores on such a server."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from lib.storage.s3 import S3BlobStore, connect

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

BUCKET = "floom-tests"  # one for all: SeaweedFS sets volumes apart for each


def client_of(url: str, **limits: Any) -> Callable[[], S3Client]:
    """Return what connects to a server."""
    return lambda: connect(endpoint_url=url, **limits)


@cache
def shared_client(url: str) -> S3Client:
    """Return a client that was made before, which takes 0.1 s; the bucket is there."""
    client = client_of(url)()
    client.create_bucket(Bucket=BUCKET)
    return client


def new_store(url: str, **arguments: Any) -> S3BlobStore:
    """Return an empty store, below a prefix of its own."""
    shared_client(url)
    arguments.setdefault("connect", lambda: shared_client(url))
    return S3BlobStore(BUCKET, f"some/{secrets.token_hex(8)}", **arguments)
