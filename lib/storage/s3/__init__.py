"""Blobs in a bucket of S3, or of a server that speaks as S3 does.

Importing this loads no AWS library; the first request does.
"""

from lib.storage.s3.blobs import S3BlobStore
from lib.storage.s3.bodies import MAX_BLOB_BYTES
from lib.storage.s3.client import connect

__all__ = ["MAX_BLOB_BYTES", "S3BlobStore", "connect"]
