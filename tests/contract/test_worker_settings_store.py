"""WorkerSettingsStore."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lib.storage.ports import WorkerSettingsStore
from lib.storage.records import WorkerSettings
from tests.contract.threads import MANY, together


class TestWorkerSettingsStore:
    def test_defaults_until_changed(self, worker_settings: WorkerSettingsStore) -> None:
        assert worker_settings.get("hello") == WorkerSettings(enabled=True, saved_inputs={})
        assert worker_settings.get_all() == {}

    def test_a_change_is_kept_and_returned(self, worker_settings: WorkerSettingsStore) -> None:
        inputs = {"who": "wörld", "n": 1.5, "deep": [{"a": None}]}

        changed = worker_settings.change(
            "hello", lambda settings: replace(settings, enabled=False, saved_inputs=inputs)
        )

        assert changed == WorkerSettings(False, inputs)
        assert worker_settings.get("hello") == changed
        assert worker_settings.get_all() == {"hello": changed}
        assert worker_settings.get("other") == WorkerSettings()

    def test_an_error_changes_nothing(self, worker_settings: WorkerSettingsStore) -> None:
        def refuse(settings: WorkerSettings) -> WorkerSettings:
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            worker_settings.change("hello", refuse)
        assert worker_settings.get_all() == {}

    def test_no_change_is_lost_among_many(self, worker_settings: WorkerSettingsStore) -> None:
        def count(settings: WorkerSettings) -> WorkerSettings:
            return replace(settings, saved_inputs={"n": settings.saved_inputs.get("n", 0) + 1})

        together(lambda _: worker_settings.change("hello", count))

        assert worker_settings.get("hello").saved_inputs == {"n": MANY}
