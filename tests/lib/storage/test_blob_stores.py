from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lib.blob_address import BadBlobAddress
from lib.storage.blob_stores import open_blob_store
from lib.storage.conditions import check_conditions
from lib.storage.ports import StoreUnavailable
from tests.kit.buckets import BUCKET, shared_client

ROOT = Path(__file__).resolve().parents[3]


def test_a_folder_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "some where" / "bundles"

    store = open_blob_store(folder.as_uri())
    store.put("a/b", b"one")

    assert (folder / "a" / "b").read_bytes() == b"one"
    check_conditions(store, "")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailable, match="file/bundles of the blob store cannot be used"):
        open_blob_store((tmp_path / "file" / "bundles").as_uri())


def test_a_bucket_on_a_server_that_the_environment_names(
    moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = shared_client(moto_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_url)

    store = open_blob_store(f"s3://{BUCKET}/by/address/")
    store.put("a/b", b"one")

    assert client.get_object(Bucket=BUCKET, Key="by/address/a/b")["Body"].read() == b"one"


def test_a_server_whose_address_is_none(
    s3_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "not an address")

    with pytest.raises(StoreUnavailable, match="AWS_ENDPOINT_URL_S3"):
        open_blob_store("s3://bucket/x").get("a")


def test_another_address() -> None:
    with pytest.raises(BadBlobAddress, match="file:///"):
        open_blob_store("/srv/bundles")


@pytest.mark.parametrize("address", ["file:///{}/bundles", "s3://bucket/x"])
def test_no_library_of_aws_is_loaded_before_a_request(address: str, tmp_path: Path) -> None:
    program = (
        "import sys; from lib.storage.blob_stores import open_blob_store\n"
        f"open_blob_store({address.format(tmp_path.relative_to('/'))!r})\n"
        "sys.exit(any(name.startswith(('boto', 's3transfer')) for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)


def test_without_the_library_a_request_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "boto3.py").write_text("raise ImportError")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from lib.storage.blob_stores import open_blob_store\n"
        "open_blob_store('s3://bucket/x').get('a')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT, check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "StoreUnavailable" in ended.stderr
    assert "make install-aws" in ended.stderr
