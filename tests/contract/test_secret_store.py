"""SecretStore."""

from __future__ import annotations

import pytest

from lib.storage.memory import MemorySecretStore
from lib.storage.ports import SecretStore
from lib.storage.records import SecretInfo
from tests.contract.samples import Samples


@pytest.fixture
def secrets() -> SecretStore:
    return MemorySecretStore()


class TestSecretStore:
    def test_values_of_the_names_that_are_stored(
        self, secrets: SecretStore, samples: Samples
    ) -> None:
        secrets.put("API_KEY", "välue", at=samples.now)
        secrets.put("OTHER", "other", at=samples.now)

        assert secrets.values(["API_KEY", "MISSING"]) == {"API_KEY": "välue"}
        assert secrets.values([]) == {}

    def test_a_put_replaces(self, secrets: SecretStore, samples: Samples) -> None:
        secrets.put("API_KEY", "one", at=samples.now)
        later = samples.clock.advance(seconds=1)
        secrets.put("API_KEY", "two", at=later)

        assert secrets.values(["API_KEY"]) == {"API_KEY": "two"}
        assert secrets.list() == [SecretInfo("API_KEY", later)]

    def test_what_is_known_comes_by_name_and_without_values(
        self, secrets: SecretStore, samples: Samples
    ) -> None:
        for name in ("B", "A"):
            secrets.put(name, "hidden", at=samples.now)

        assert [info.name for info in secrets.list()] == ["A", "B"]
        assert "hidden" not in repr(secrets.list())

    def test_delete_says_whether_there_was_one(
        self, secrets: SecretStore, samples: Samples
    ) -> None:
        secrets.put("A", "1", at=samples.now)

        assert secrets.delete("A") is True
        assert secrets.delete("A") is False
        assert secrets.list() == []
