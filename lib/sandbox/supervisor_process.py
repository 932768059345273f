"""A supervisor's process: small, in a session of its own, serving one run after another.

It outlives the server, and with a run the zygote, too. It holds no descriptor but
its lines to the zygote and to init, those of the place that it has prepared for a run,
and while it has one those of that run.

It serves no run after one that had to be ended or did not start, so whoever kills a
supervisor for what its run did hits nobody else; nor after one that had a secret
which is still good when the run is over. Workers are forked from init, which was
forked before anything was read, so none inherits what a supervisor has read.
"""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lib.sandbox import process_tree, wire
from lib.sandbox.confinement import ConfinementError
from lib.sandbox.init_process import InitProcess, Order
from lib.sandbox.intake import Intake
from lib.sandbox.place import Place
from lib.sandbox.premises import Premises
from lib.sandbox.process_names import own_name
from lib.sandbox.server_link import has_hung_up
from lib.sandbox.supervisor import Supervisor
from lib.sandbox.warm import WarmStart
from lib.sandbox.worker_process import WorkerProcess

MAX_RUNS: Final = 50
TELL_SECONDS: Final = 0.05  # several times the executor's ANSWER_SECONDS


def supervise(premises: Premises, intake: Intake) -> WarmStart | None:
    """Serve runs, one after the other, each to its exit record. In a process of its own.

    Returns:
        None in the supervisor, when no more come. In a worker's own process,
        forked below here, what it is to run.
    """
    gc.disable()  # nothing here lives long, and a collection would copy pages
    os.setsid()
    process_tree.adopt_orphans()
    own_name()  # remembered
    init = _fork_init(premises)
    if isinstance(init, Order):
        intake.forget()
        return WorkerProcess(premises.enclosure, init).start()
    for _ in range(MAX_RUNS):
        if not _serve_next(intake, premises, init):
            break
    return None


def _fork_init(premises: Premises) -> InitProcess | Order | ConfinementError:
    """Fork init; what refuses that is told by each run."""
    try:
        return InitProcess.fork(premises.enclosure)
    except ConfinementError as error:
        return error


def _serve_next(intake: Intake, premises: Premises, init: InitProcess | ConfinementError) -> bool:
    """Wait for a run and serve it; return whether this process may serve another."""
    may_go_on = False
    place = Place.prepare(premises, init)
    try:
        connection = intake.wait()
        if connection is not None:
            if place.is_spoilt():  # what others had used up then may be there now
                place.leave()
                place = Place.prepare(premises, init)
            may_go_on = _serve(connection, place)
    finally:
        spared = {init.pid} if may_go_on and isinstance(init, InitProcess) else set()
        process_tree.end_below(os.getpid(), spare=frozenset(spared))
        place.leave()
    return may_go_on


@contextmanager
def _unless_unwanted(connection: socket.socket) -> Iterator[None]:
    """Get a run ready. Raises EOFError if nobody waits for it: its folder may be gone by now."""
    try:
        yield
    except OSError as error:
        if has_hung_up(connection):
            raise EOFError("nobody waits for the run") from error
        raise


def _serve(connection: socket.socket, place: Place) -> bool:
    request = wire.LaunchRequest.receive(connection)
    with _unless_unwanted(connection):
        meta, work = _open(request.meta), _open(request.work)
    # Whoever hangs up removes the folders, and may make others of the same name: this process
    # uses them by these descriptors from here on.
    if has_hung_up(connection):
        raise EOFError("nobody waits for the run")
    with _unless_unwanted(connection):
        supervisor = Supervisor(request, connection, meta, work, place, place.brief(request))
    try:
        with _unless_unwanted(connection):
            supervisor.await_begin()
        supervisor.run()
        if supervisor.may_go_on:
            # What is prepared next would take its time from those who tell how this run ended.
            supervisor.outlast_server(TELL_SECONDS)
        return supervisor.may_go_on
    finally:
        supervisor.close()


def _open(folder: str) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
