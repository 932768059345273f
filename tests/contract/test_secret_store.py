"""SecretStore."""

from __future__ import annotations

import pytest

from lib.storage.ports import SecretStore
from lib.storage.records import SecretInfo
from tests.contract.samples import Samples
from tests.contract.threads import together


class TestSecretStore:
    def test_values_of_the_names_that_are_stored(
        self, secrets: SecretStore, samples: Samples
    ) -> None:
        secrets.put("API_KEY", "välue", at=samples.now)
        secrets.put("OTHER", "other", at=samples.now)

        assert secrets.values(["API_KEY", "MISSING"]) == {"API_KEY": "välue"}
        assert secrets.values([]) == {}

    @pytest.mark.parametrize("value", ["x", " \n\t", "\N{KEY}" * 32_768, "a\0b", '"\\'])
    def test_any_text_comes_back_as_it_was(
        self, secrets: SecretStore, samples: Samples, value: str
    ) -> None:
        secrets.put("API_KEY", value, at=samples.now)

        assert secrets.values(["API_KEY"]) == {"API_KEY": value}

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

    def test_the_last_use_is_that_of_the_names_that_a_run_took(
        self, secrets: SecretStore, samples: Samples
    ) -> None:
        stored = samples.now
        for name in ("A", "B"):
            secrets.put(name, "hidden", at=stored)
        used = samples.clock.advance(seconds=1)

        assert secrets.values(["A", "MISSING"], at=used) == {"A": "hidden"}

        assert secrets.list() == [SecretInfo("A", stored, used), SecretInfo("B", stored)]

    def test_reading_without_a_time_is_no_use(self, secrets: SecretStore, samples: Samples) -> None:
        secrets.put("A", "hidden", at=samples.now)

        secrets.values(["A"])

        assert secrets.list()[0].last_used_at is None

    def test_the_last_use_never_goes_back(self, secrets: SecretStore, samples: Samples) -> None:
        earlier = samples.now
        secrets.put("A", "hidden", at=earlier)
        later = samples.clock.advance(seconds=1)
        secrets.values(["A"], at=later)
        secrets.values(["A"], at=earlier)

        assert secrets.list()[0].last_used_at == later

    def test_a_new_value_keeps_the_last_use(self, secrets: SecretStore, samples: Samples) -> None:
        used = samples.now
        secrets.put("A", "one", at=used)
        secrets.values(["A"], at=used)
        later = samples.clock.advance(seconds=1)
        secrets.put("A", "two", at=later)

        assert secrets.list() == [SecretInfo("A", later, used)]

    def test_a_name_that_comes_back_was_never_used(
        self, secrets: SecretStore, samples: Samples
    ) -> None:
        secrets.put("A", "one", at=samples.now)
        secrets.values(["A"], at=samples.now)
        secrets.delete("A")
        secrets.put("A", "two", at=samples.now)

        assert secrets.list() == [SecretInfo("A", samples.now)]

    def test_delete_says_whether_there_was_one(
        self, secrets: SecretStore, samples: Samples
    ) -> None:
        secrets.put("A", "1", at=samples.now)

        assert secrets.delete("A") is True
        assert secrets.delete("A") is False
        assert secrets.list() == []
        assert secrets.values(["A"]) == {}

    def test_many_threads_at_once(self, secrets: SecretStore, samples: Samples) -> None:
        def use(number: int) -> str:
            name = f"NAME_{number % 4}"
            secrets.put(name, f"value of {name}", at=samples.now)
            return secrets.values([name], at=samples.now)[name]

        assert together(use, 16) == [f"value of NAME_{number % 4}" for number in range(16)]
        assert len(secrets.list()) == 4
