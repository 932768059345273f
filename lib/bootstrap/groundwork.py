"""What every part of a local server is built on."""

from __future__ import annotations

from dataclasses import dataclass

from lib.clock import Clock
from lib.data_folder import DataFolder
from lib.ids import Ids
from lib.settings import Settings


@dataclass(frozen=True)
class Groundwork:
    """Settings, time, ids and the data folder of one server."""

    settings: Settings
    clock: Clock
    ids: Ids
    folder: DataFolder
