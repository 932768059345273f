"""The bounded pool in which blocking work runs, off the event loop.

A pool of our own rather than `asyncio.to_thread`, which costs two futures, a
semaphore and several locks a call: measured with 16 callers, 5 us of processor
time a call here against 19 us there, and every list pays it.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, ParamSpec, TypeVar

from lib.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

MAX_THREADS: Final = 16  # a store's readers; more only wait for the interpreter's lock

_Job = tuple[contextvars.Context, Callable[[], Any], "asyncio.Future[Any]"]


class Pool:
    """At most `max_threads` threads, started when there is work for them.

    It may be used again after `close`.

    Args:
        new_thread: Makes one, as `threading.Thread` does.
    """

    def __init__(
        self,
        max_threads: int = MAX_THREADS,
        *,
        new_thread: Callable[..., threading.Thread] = threading.Thread,
    ) -> None:
        self._max_threads = max_threads
        self._new_thread = new_thread
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._waiting = 0  # jobs submitted and not finished; approximate is enough

    async def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, run in a thread with our context variables.

        Raises:
            Unavailable: the host has no thread for it, not even one that is busy now.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting += 1
        try:
            if self._waiting > len(self._threads) and len(self._threads) < self._max_threads:
                self._start_thread()
            self._jobs.put((contextvars.copy_context(), work, future))
            return await future
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let the threads end after the work that is queued."""
        with self._lock:
            for _ in self._threads:
                self._jobs.put(None)
            # A later call gets a queue whose end marks are not its own.
            self._jobs, self._threads = queue.SimpleQueue(), []

    def _start_thread(self) -> None:
        with self._lock:
            name = f"blocking-{len(self._threads)}"
            thread = self._new_thread(target=_work_off, args=(self._jobs,), name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError as ex:  # no more threads now
                if not self._threads:
                    raise Unavailable("The server has no thread for this now; try again.") from ex
                return  # one of those takes it when it is free
            self._threads.append(thread)


_current: ContextVar[Pool] = ContextVar("floom_pool")


def use(pool: Pool) -> None:
    """Make `pool` the one that `blocking` uses in this task and its children."""
    _current.set(pool)


async def blocking(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `fn` in the bounded pool and return its result or raise its error.

    Context variables are kept. A caller that is cancelled stops waiting; the
    work itself runs to its end. Outside of an application's requests the
    event loop's own executor is used.
    """
    pool = _current.get(None)
    if pool is None:
        return await asyncio.to_thread(fn, *args, **kwargs)
    if args or kwargs:
        return await pool.run(lambda: fn(*args, **kwargs))
    return await pool.run(fn)  # type: ignore[call-arg, arg-type, unused-ignore]


def _work_off(jobs: queue.SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        context, work, future = job
        result: Any = None
        error: BaseException | None = None
        try:
            result = context.run(work)
        except BaseException as ex:  # noqa: BLE001  it is raised where it is awaited
            error = ex
        _settle(future, result, error)
        del job, context, work, future, result, error  # keep nothing alive while idle


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    try:
        future.get_loop().call_soon_threadsafe(_resolve, future, result, error)
    except RuntimeError:
        return  # the loop has closed: nobody waits any more


def _resolve(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return  # the caller was cancelled
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):
        # A future refuses it, and would leave its caller waiting for ever.
        future.set_exception(RuntimeError("StopIteration left a blocking call"))
    else:
        future.set_exception(error)
