"""UploadStore."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from lib.storage.ports import UploadNotFound, UploadStore
from lib.storage.records import Upload
from tests.contract.samples import Samples


@pytest.fixture
def upload(uploads: UploadStore, samples: Samples) -> Upload:
    upload = announced(samples)
    uploads.create(upload)
    return upload


def announced(samples: Samples) -> Upload:
    return Upload(
        id=samples.id("upl"),
        name="Zahlen ü.csv",
        size=3,
        sha256="1" * 64,
        media_type="text/csv",
        created_by="usr_1",
        created_at=samples.now,
        expires_at=samples.now + timedelta(hours=24),
    )


class TestUploadStore:
    def test_an_upload_is_read_back_whole(self, uploads: UploadStore, upload: Upload) -> None:
        assert uploads.get(upload.id) == upload

    def test_an_unknown_upload_is_not_found(self, uploads: UploadStore, samples: Samples) -> None:
        unknown = samples.id("upl")

        with pytest.raises(UploadNotFound):
            uploads.get(unknown)
        with pytest.raises(UploadNotFound):
            uploads.mark_received(unknown, at=samples.now)
        with pytest.raises(UploadNotFound):
            uploads.mark_used([unknown], at=samples.now)

    def test_the_first_receipt_counts(
        self, uploads: UploadStore, samples: Samples, upload: Upload
    ) -> None:
        first = samples.clock.advance(seconds=1)
        assert uploads.mark_received(upload.id, at=first) == replace(upload, received_at=first)
        samples.clock.advance(seconds=1)

        assert uploads.mark_received(upload.id, at=samples.now).received_at == first
        assert uploads.get(upload.id).received_at == first

    def test_the_first_use_counts(
        self, uploads: UploadStore, samples: Samples, upload: Upload
    ) -> None:
        other = announced(samples)
        uploads.create(other)
        first = samples.now
        uploads.mark_used([upload.id], at=first)
        samples.clock.advance(seconds=1)
        uploads.mark_used([upload.id, other.id], at=samples.now)
        uploads.mark_used([], at=samples.now)

        assert uploads.get(upload.id).used_at == first
        assert uploads.get(other.id).used_at == samples.now

    def test_all_are_marked_used_or_none(
        self, uploads: UploadStore, samples: Samples, upload: Upload
    ) -> None:
        with pytest.raises(UploadNotFound):
            uploads.mark_used([upload.id, samples.id("upl")], at=samples.now)

        assert uploads.get(upload.id).used_at is None

    def test_unused_uploads_expire(
        self, uploads: UploadStore, samples: Samples, upload: Upload
    ) -> None:
        used, fresh = announced(samples), announced(samples)
        fresh = replace(fresh, expires_at=samples.now + timedelta(days=9))
        for other in (used, fresh):
            uploads.create(other)
        uploads.mark_used([used.id], at=samples.now)

        assert uploads.delete_expired(now=upload.expires_at - timedelta(seconds=1)) == []
        assert uploads.delete_expired(now=samples.now + timedelta(days=2)) == [upload]
        assert uploads.delete_expired(now=samples.now + timedelta(days=2)) == []
        with pytest.raises(UploadNotFound):
            uploads.get(upload.id)
        assert uploads.get(used.id).used_at is not None
        assert uploads.get(fresh.id) == fresh
