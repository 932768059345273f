"""A store of blobs by its address."""

from __future__ import annotations

from pathlib import Path

from lib.blob_address import FolderAddress, parse_blob_address
from lib.clock import Clock
from lib.storage.files import FileBlobStore
from lib.storage.ports import BlobStore, StoreUnavailable


def open_blob_store(address: str, *, clock: Clock | None = None) -> BlobStore:
    """Open the store at `file:///folder` or `s3://bucket/prefix`.

    A folder is made if it is not there; nothing is asked of S3, whose library is
    loaded at the first request. boto3 finds credentials, region and the address
    of another server than AWS (AWS_ENDPOINT_URL_S3) by itself.

    Raises:
        BadBlobAddress: the address is of another form.
        StoreUnavailable: the folder cannot be made.
    """
    where = parse_blob_address(address)
    if isinstance(where, FolderAddress):
        return _open_folder(Path(where.path), clock)
    from lib.storage.s3 import S3BlobStore

    return S3BlobStore(where.bucket, where.prefix, clock=clock)


def _open_folder(path: Path, clock: Clock | None) -> FileBlobStore:
    try:
        return FileBlobStore(path, clock=clock)
    except OSError as ex:
        raise StoreUnavailable(
            f"The folder {path} of the blob store cannot be used: {ex.strerror}."
        ) from ex
