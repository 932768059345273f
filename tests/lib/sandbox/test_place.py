"""A place for one run: what it does to the run's folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest

from lib.sandbox.confinement import ConfinementError
from lib.sandbox.identity import UidLease
from lib.sandbox.place import Place

UID = 12_345


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_folder_is_given_that_was_opened_not_another_of_its_name(tmp_path: Path) -> None:
    nothing = cast("Any", None)
    refusal = ConfinementError("not needed")
    lease = UidLease(UID, descriptor=-1)
    place = Place(nothing, refusal, refusal, nothing, lease, None)
    folder, moved = tmp_path / "work", tmp_path / "moved"
    for each in (folder, moved):
        (folder / "below").mkdir(parents=True)
        if each is folder:
            work = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            folder.rename(moved)
    place.give(work)
    os.close(work)
    assert {each.stat().st_uid for each in (moved, moved / "below")} == {UID}
    assert {each.stat().st_uid for each in (folder, folder / "below")} == {0}
