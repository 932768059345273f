"""ShareStore."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lib.storage.ports import ShareStore
from lib.storage.records import Share
from tests.contract.samples import Samples
from tests.contract.threads import together


@pytest.fixture
def share(samples: Samples) -> Share:
    return Share("fls_" + "a" * 24, "plain", "1" * 40, "2" * 40, "anna", samples.now)


class TestShareStore:
    def test_a_link_is_found_by_its_token(self, shares: ShareStore, share: Share) -> None:
        assert shares.find(share.token) is None
        assert shares.put(share) == share
        assert shares.find(share.token) == share
        assert shares.find("fls_" + "b" * 24) is None

    def test_shared_again_it_moves_and_keeps_its_token(
        self, shares: ShareStore, share: Share
    ) -> None:
        shares.put(share)
        again = replace(share, token="fls_" + "b" * 24, sha="3" * 40, created_by="ben")

        assert shares.put(again) == replace(again, token=share.token)
        assert shares.find(share.token) == replace(again, token=share.token)
        assert shares.find(again.token) is None

    def test_all_links_are_listed_by_worker(self, shares: ShareStore, share: Share) -> None:
        other = replace(share, worker_id="other", token="fls_" + "b" * 24)
        assert shares.list() == ()
        shares.put(share)
        shares.put(other)
        assert shares.list() == (other, share)

    def test_one_token_alone_is_revoked(self, shares: ShareStore, share: Share) -> None:
        shares.put(share)
        assert not shares.delete("plain", token="fls_" + "b" * 24)
        assert shares.list() == (share,)
        assert shares.delete("plain", token=share.token)
        assert shares.list() == ()

    def test_a_revoked_link_is_unknown(self, shares: ShareStore, share: Share) -> None:
        other = replace(share, worker_id="other", token="fls_" + "b" * 24)
        shares.put(share)
        shares.put(other)

        assert shares.delete("plain")
        assert not shares.delete("plain")
        assert shares.find(share.token) is None
        assert shares.find(other.token) == other

    def test_of_many_at_once_all_get_one_token(self, shares: ShareStore, share: Share) -> None:
        def put(number: int) -> str:
            return shares.put(replace(share, token=f"fls_{number:024}")).token

        assert len({*together(put)}) == 1
