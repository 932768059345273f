"""The sandbox port: what the run engine asks of whatever executes a worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Literal, Protocol

from lib.errors import Unavailable
from lib.manifest.policies import Limits
from lib.sandbox.wire import ExitRecord
from lib.storage.records import SandboxReport

SandboxMode = Literal["require", "best_effort", "off"]
NOT_HELD: Final = "none"


class SandboxUnavailable(Unavailable):
    """The isolation that the settings require cannot be had here."""

    code = "sandbox_unavailable"


class Signal(Enum):
    """What a live run tells its watcher."""

    STARTED = "started"
    LOG = "log"
    ENDED = "ended"  # the exit record is there, unless the supervisor was killed
    TIMEOUT = "timeout"  # nothing happened in the time given


@dataclass(frozen=True, slots=True)
class Launch:
    """One attempt of a run, ready to start.

    Attributes:
        folder: The attempt's folder: `work` is prepared, `meta` is empty.
        environment: The variables of the process, secrets among them, but for
            those that say where things are: `HOME`, `TMPDIR`, `FLOOM_API_URL`,
            proxies.
        secret_names: Which ones those are: their values are in nothing that the
            sandbox writes or reports of the worker's output.
        first_seq: Sequence number of its first log line.
        warm: Whether a Python file may run in a forked interpreter.
        readable: Paths that this run may read beside what all may, such as the
            packages it needs.
        egress: Hosts that it may reach, as the manifest lists them; None: no network.
        has_lasting_secrets: Whether one of its secrets is still good when the run is over.
    """

    run_id: str
    fence: int
    folder: Path
    command: tuple[str, ...]
    environment: Mapping[str, str]
    limits: Limits
    first_seq: int
    warm: bool = True
    secret_names: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    egress: tuple[str, ...] | None = None
    has_lasting_secrets: bool = False


class LiveRun(Protocol):
    """A started attempt, watched by one thread; `cancel` may come from any."""

    def begin(self) -> None:
        """Let it run; once, before all else. Not of one that was adopted."""
        ...

    def wait(self, timeout_seconds: float) -> Signal:
        """Return the next thing that happens."""
        ...

    def cancel(self) -> None:
        """End the whole tree: SIGTERM, and SIGKILL after the grace."""
        ...

    def note(self, level: str, message: str) -> None:
        """Add lines to its log, after what it has printed, before what it prints then.

        Only while another thread watches. Lost when the run has ended.
        """
        ...

    def close(self) -> None:
        """Stop watching; the run goes on, if it has begun, and else will not begin."""
        ...


@dataclass(frozen=True, slots=True)
class HostReport:
    """What the probe of this host found.

    Attributes:
        mode: What the settings ask for.
        mechanisms: Each one that was tried: "" if it works, else why not.
    """

    mode: SandboxMode
    holds: SandboxReport
    mechanisms: Mapping[str, str]

    @property
    def is_whole(self) -> bool:
        """Whether all five properties of isolation are held."""
        return not self.missing

    @property
    def missing(self) -> tuple[str, ...]:
        """The properties that nothing holds."""
        return tuple(name for name, held in asdict(self.holds).items() if held == NOT_HELD)


class Sandbox(Protocol):
    """Starts attempts, and knows those that an earlier server left."""

    def report_at_hand(self) -> SandboxReport | None:
        """Return what `report` would; None where that would have to start something first."""
        ...

    def report(self) -> SandboxReport:
        """Return the mechanism that holds each property of isolation for a run that starts now."""
        ...

    def inspect(self) -> HostReport:
        """Return that with everything that was tried."""
        ...

    def start(self, launch: Launch) -> LiveRun:
        """Get one attempt ready; its worker runs once `LiveRun.begin` says so.

        Raises:
            SandboxUnavailable: it may not or cannot be started here.
        """
        ...

    def has_started(self, folder: Path) -> bool:
        """Whether an attempt's worker was ever about to begin."""
        ...

    def adopt(self, folder: Path) -> LiveRun | None:
        """Watch an attempt that an earlier server started; None when it has ended."""
        ...

    def end_orphans(self, folders: Sequence[Path]) -> None:
        """End attempts that an earlier server left running; wait until all are gone."""
        ...

    def kill(self, folder: Path) -> None:
        """End an attempt whose supervisor does not answer any more, at once."""
        ...

    def find_exit(self, folder: Path) -> ExitRecord | None:
        """Return how an attempt ended, if its supervisor could still say so."""
        ...

    def close(self) -> None:
        """Let go of the host's resources; runs that live on are not ended."""
        ...
