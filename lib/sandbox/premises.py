"""What a zygote and its supervisors know of the host, found once at start."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from lib.sandbox import identity, wire
from lib.sandbox.cgroup import Group, Groups
from lib.sandbox.confinement import Enclosure, Layers
from lib.sandbox.gateway import GateTerms
from lib.sandbox.host_view import HostView
from lib.sandbox.identity import UidRange
from lib.sandbox.probe import Probe, probe

NO_LAYERS: Final = Layers(no_new_privs=False)


@dataclass(frozen=True)
class Premises:
    """Where workers are put.

    Attributes:
        uids: Where each run gets a user of its own.
        groups: Where each run gets a control group of its own.
        terms: Of the gates by which runs get out.
    """

    enclosure: Enclosure
    terms: GateTerms
    uids: UidRange | None
    groups: Groups | None

    @classmethod
    def find(cls, settings: wire.ZygoteSettings) -> tuple[Premises, Probe | None]:
        """Probe the host, unless nothing is to be confined; before any fork."""
        first_uid = identity.default_first_uid()
        found = _probe(settings, first_uid) if settings.confines else None
        layers = found.layers if found else NO_LAYERS
        enclosure = Enclosure(
            layers=layers,
            view=HostView.find(settings.readable),
            stage=settings.stage,
            hidden=settings.hidden,
        )
        locks = identity.lock_folder(Path(settings.uids))
        uids = UidRange(locks, first=first_uid) if layers.uid else None
        if found:
            enclosure.get_ready()
        terms = GateTerms(api_socket=settings.api_socket)
        if layers.uid:
            terms = replace(terms, uid=identity.gate_uid())
        if settings.network is not None:
            terms = replace(terms, network=settings.network)
        premises = cls(enclosure, terms, uids, found.groups if found else None)
        premises.sweep()
        return premises, found

    def sweep(self) -> None:
        """Remove what killed supervisors left."""
        if self.groups is not None:
            self.groups.sweep()

    def new_group(self) -> Group | None:
        """Make a group for the run to come, named after this process; None where there are none.

        Raises:
            OSError: there are, but not any more.
        """
        if self.groups is None:
            return None
        name = f"{os.getpid()}-{time.monotonic_ns()}"
        return self.groups.create(name)


def _probe(settings: wire.ZygoteSettings, first_uid: int) -> Probe:
    """Probe; where runs are users of their own and no mount shows them their folders, open the way.

    A folder that others may pass, and that holds files of a worker's making, is
    a way in for set-uid files too: it stays closed where it can be.
    """
    found = probe(settings.needed_paths, first_uid)
    if os.geteuid() == 0 and not found.layers.root:
        for folder in settings.runs_folders:
            os.chmod(folder, 0o711)  # noqa: PTH101, S103 - to pass, not to look
        found = probe(settings.needed_paths, first_uid)
    return found
