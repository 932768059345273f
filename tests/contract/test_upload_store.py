"""UploadStore."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from lib.storage.ports import RunStore, UploadNotFound, UploadStore
from lib.storage.records import Upload
from tests.contract.samples import Samples


@pytest.fixture
def upload(uploads: UploadStore, samples: Samples) -> Upload:
    upload = samples.upload()
    uploads.create(upload)
    return upload


class TestUploadStore:
    def test_an_upload_is_read_back_whole(self, uploads: UploadStore, upload: Upload) -> None:
        assert uploads.get(upload.id) == upload

    def test_an_unknown_upload_is_not_found(self, uploads: UploadStore, samples: Samples) -> None:
        unknown = samples.id("upl")

        with pytest.raises(UploadNotFound):
            uploads.get(unknown)
        with pytest.raises(UploadNotFound):
            uploads.mark_received(unknown, at=samples.now)

    def test_the_first_receipt_counts(
        self, uploads: UploadStore, samples: Samples, upload: Upload
    ) -> None:
        first = samples.clock.advance(seconds=1)
        assert uploads.mark_received(upload.id, at=first) == replace(upload, received_at=first)
        samples.clock.advance(seconds=1)

        assert uploads.mark_received(upload.id, at=samples.now).received_at == first
        assert uploads.get(upload.id).received_at == first

    def test_unused_uploads_expire(
        self, runs: RunStore, uploads: UploadStore, samples: Samples, upload: Upload
    ) -> None:
        used, fresh = samples.upload(), samples.upload(expires_at=samples.now + timedelta(days=9))
        for other in (used, fresh):
            uploads.create(other)
        runs.create(samples.new(uploads=(used.id,)))
        tomorrow = samples.now + timedelta(days=2)

        assert uploads.delete_expired(now=upload.expires_at - timedelta(seconds=1), limit=9) == []
        assert uploads.delete_expired(now=tomorrow, limit=9) == [upload]
        assert uploads.delete_expired(now=tomorrow, limit=9) == []
        with pytest.raises(UploadNotFound):
            uploads.get(upload.id)
        assert uploads.get(used.id).used_at is not None
        assert uploads.get(fresh.id) == fresh

    def test_those_that_expired_first_go_first(
        self, uploads: UploadStore, samples: Samples
    ) -> None:
        made = [samples.upload() for _ in range(3)]
        for upload in made:
            uploads.create(upload)
        tomorrow = samples.now + timedelta(days=1)

        assert uploads.delete_expired(now=tomorrow, limit=2) == made[:2]
        assert uploads.delete_expired(now=tomorrow, limit=2) == made[2:]
