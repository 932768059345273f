"""How this program speaks to S3: signed, patient for seconds, and never twice by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from lib.storage.ports import StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

CONNECT_SECONDS: Final = 3.0
READ_SECONDS: Final = 10.0  # between two bytes of an answer, not for all of it
_CONNECTIONS: Final = 64  # as many threads as the web layer has, and some


def connect(
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    connect_seconds: float = CONNECT_SECONDS,
    read_seconds: float = READ_SECONDS,
) -> S3Client:
    """Make a client; credentials come from where AWS's own tools find them.

    It repeats nothing: what is safe to repeat is decided where it is known.

    Args:
        endpoint_url: Of a server other than AWS; None is the environment's
            (AWS_ENDPOINT_URL_S3), or AWS.
        region: None is the environment's, or us-east-1.
        connect_seconds: Until there is a connection.
        read_seconds: Until the next byte of an answer.

    Raises:
        StoreUnavailable: boto3 is not installed, or the address is none.
    """
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise StoreUnavailable(
            "A store in S3 needs boto3, which is not installed: run `make install-aws`."
        ) from None
    config = Config(
        signature_version="s3v4",
        connect_timeout=connect_seconds,
        read_timeout=read_seconds,
        max_pool_connections=_CONNECTIONS,
        tcp_keepalive=True,
        retries={"total_max_attempts": 1, "mode": "standard"},
        # The hash of the body is signed, over TLS too, so S3 refuses other bytes than
        # were sent. The newer checksums come as trailers that many servers cannot read.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"payload_signing_enabled": True},
    )
    # Such a server seldom has a host name for each bucket.
    elsewhere = Config(s3={"payload_signing_enabled": True, "addressing_style": "path"})
    # A session of its own: boto3's default one is not for several threads.
    session = boto3.session.Session()
    try:
        client = session.client("s3", region, endpoint_url=endpoint_url, config=config)
        if _is_aws(client.meta.endpoint_url):
            return client
        client.close()
        config = config.merge(elsewhere)
        return session.client("s3", region, endpoint_url=endpoint_url, config=config)
    except ValueError:
        raise StoreUnavailable(
            "The address of the S3 server (AWS_ENDPOINT_URL_S3) must be http(s)://host[:port]."
        ) from None


def _is_aws(url: str) -> bool:
    return (urlsplit(url).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
