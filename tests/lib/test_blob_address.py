from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lib.blob_address import BadBlobAddress, BucketAddress, FolderAddress, parse_blob_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("s3://floom", BucketAddress("floom", "")),
        ("s3://floom/", BucketAddress("floom", "")),
        ("s3://my.bucket-1/a/b_c=d/", BucketAddress("my.bucket-1", "a/b_c=d")),
        ("file:///srv/floom", FolderAddress(PurePosixPath("/srv/floom"))),
        ("file:///srv//floom/", FolderAddress(PurePosixPath("/srv/floom"))),
        ("file:///srv/with%20blank", FolderAddress(PurePosixPath("/srv/with blank"))),
        ("file:///srv/gr%C3%BCn", FolderAddress(PurePosixPath("/srv/grün"))),
    ],
)
def test_each_form_is_taken(text: str, address: BucketAddress | FolderAddress) -> None:
    assert parse_blob_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "", "bundles", "/srv/bundles", "./bundles", "s3:", "s3://", "s3:///prefix", "s3:bucket/x",
        "s3://UPPER/x", "s3://ab/x", "s3://a..b/x", "s3://bucket:443/x", "s3://bucket//x",
        "s3://bucket/a//b", "s3://bucket/../x", "s3://bucket/.hidden", "s3://bucket/a b",
        "s3://bucket/a%20b", "s3://bucket/ä", "s3://bucket/x?region=eu", "s3://bucket/x#y",
        "s3://bucket/x?", "s3://bucket/" + "a" * 257, "s3://bucket/x\n", "s3://[/x",
        "https://bucket.s3.amazonaws.com/x", "gs://bucket/x",
        "file:", "file://", "file:///", "file:////", "file://srv/bundles", "file:bundles",
        "file://localhost/srv", "file:///srv/../etc", "file:///srv/%2e%2e/etc", "file:///srv/./x",
        "file:///srv/%00", "file:///srv/%FF", "file:///srv?x=1", "file:///srv bundles",
    ],
)  # fmt: skip
def test_other_forms_are_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(BadBlobAddress, match="must"):
        parse_blob_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "s3://AKIAEXAMPLE:hunter22@bucket/x",
        "s3://hunter22@bucket/x",
        "file://anna:hunter22@host/srv",
        "s3://bucket/x?secret=hunter22",
        "s3://bucket:hunter22/x",
        "http://hunter22/x",
    ],
)
def test_what_may_be_a_password_is_not_repeated(text: str) -> None:
    with pytest.raises(BadBlobAddress) as refused:
        parse_blob_address(text)
    assert "hunter22" not in str(refused.value)


@given(st.text(max_size=40) | st.text("s3:/file.-%0aA@?", max_size=20).map("s3://".__add__))
@example("file:///\N{LATIN SMALL LETTER A}%")
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = parse_blob_address(text)
    except BadBlobAddress:
        return
    if isinstance(address, FolderAddress):
        assert address.path.is_absolute()
        assert ".." not in address.path.parts
