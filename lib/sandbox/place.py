"""A place for one run, prepared before the run is known: user, group, worker's process."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Self

from lib.sandbox import identity
from lib.sandbox.cgroup import Group
from lib.sandbox.child import Child
from lib.sandbox.confinement import ConfinementError
from lib.sandbox.gateway import Gateway
from lib.sandbox.identity import NoUidLeft, UidLease
from lib.sandbox.init_process import InitProcess
from lib.sandbox.premises import Premises
from lib.sandbox.wire import LaunchRequest
from lib.sandbox.worker_process import task_limit


@dataclass(frozen=True)
class Place:
    """Where one worker will be, with its process waiting in it.

    Attributes:
        init: What forks the process, or why nothing can.
        child: The waiting process, or why there is none.
        gateway: By which the run gets out.
        lease: Of the user that the worker becomes, where runs have their own.
        group: That it is counted in, where there is one.
    """

    premises: Premises
    init: InitProcess | ConfinementError
    child: Child | ConfinementError
    gateway: Gateway
    lease: UidLease | None
    group: Group | None

    @classmethod
    def prepare(cls, premises: Premises, init: InitProcess | ConfinementError) -> Self:
        """Make a place.

        Args:
            premises: Where it is made.
            init: See the attributes.
        """
        lease: UidLease | None = None
        group: Group | None = None
        gateway = Gateway.prepare(premises.terms, premises.enclosure.layers)
        try:
            if isinstance(init, ConfinementError):
                raise init
            group = premises.new_group()
            if premises.uids is not None:
                lease = premises.uids.lease()
            uid = None if lease is None else lease.uid
            child = Child.order(init, gateway, uid=uid, group=group)
        except (ConfinementError, NoUidLeft, OSError) as error:
            return cls(premises, init, ConfinementError(str(error)), gateway, lease, group)
        return cls(premises, init, child, gateway, lease, group)

    def is_spoilt(self) -> bool:
        """Whether there is no process in it, or not any more, though init can fork another.

        It takes the word of the process's end off init's line, so it is asked once.
        """
        if isinstance(self.init, ConfinementError):
            return False
        if self.init.has_news():
            return self.init.ended() is not None
        return not isinstance(self.child, Child)

    @property
    def counts_memory(self) -> bool:
        """Whether the kernel counts the memory of the whole run."""
        return self.group is not None

    def brief(self, request: LaunchRequest) -> Child | ConfinementError:
        """Have the child confine itself to the run's folder, which may be filled meanwhile.

        Returns:
            The child, or why there is none that may run.
        """
        if isinstance(self.child, ConfinementError):
            return self.child
        try:
            variables = self.gateway.open(has_egress=request.egress is not None)
            self.child.brief(request.with_variables({**variables, **self._folders(request)}))
            self._limit_group(request)  # while the child confines itself
        except ConfinementError as error:
            return error
        return self.child

    def give(self, work: int) -> None:
        """Give the run's folder, by its descriptor, with all that is in it to the worker's user.

        Raises:
            ConfinementError: it cannot be had.
        """
        if self.lease is None:
            return
        try:
            identity.give(f"/proc/self/fd/{work}/.", self.lease.uid, self.lease.uid)
        except OSError as error:
            raise ConfinementError(f"the run's folder: {error}") from error

    def was_out_of_memory(self) -> bool:
        """Whether the kernel killed a process of the run for want of memory."""
        return self.group is not None and self.group.was_out_of_memory()

    def was_out_of_tasks(self) -> bool:
        """Whether the kernel refused the run a process."""
        return self.group is not None and self.group.was_out_of_tasks()

    def cpu_seconds(self) -> float:
        """Return the CPU time that the kernel counted for the run; 0 where it did not."""
        return 0.0 if self.group is None else self.group.cpu_seconds()

    def peak_bytes(self) -> int | None:
        """Return the most memory that the run held; None where nobody counted."""
        return None if self.group is None else self.group.peak_bytes()

    def leave(self) -> None:
        """Give all back. Nothing of the run may be left."""
        if isinstance(self.child, Child):
            self.child.close()
        self.gateway.close()
        if self.group is not None:
            with contextlib.suppress(OSError):  # the next zygote sweeps
                self.group.remove()
        if self.lease is not None:
            self.lease.release()

    def _limit_group(self, request: LaunchRequest) -> None:
        if self.group is None:
            return
        try:
            limits, tasks = request.limits, task_limit(request.limits.processes)
            self.group.limit(memory_bytes=limits.memory_bytes, tasks=tasks)
        except OSError as error:
            raise ConfinementError(f"control group: {error}") from error

    def _folders(self, request: LaunchRequest) -> dict[str, str]:
        home = self.premises.enclosure.home_of(request.work)
        return {"HOME": home, "TMPDIR": f"{home}/.tmp"}
