from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from lib.workspace.locks import Turnstile, exclusive_if_free
from tests.lib.workspace.place import wait_for

HOLD = """
import sys
from pathlib import Path
from lib.workspace.locks import Turnstile
with Turnstile(Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_only_one_thread_is_in_at_a_time(tmp_path: Path) -> None:
    turnstile, inside, most = Turnstile(tmp_path), [0], [0]

    def work() -> None:
        for _ in range(50):
            with turnstile.held():
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_a_killed_holder_frees_it(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout
    holder.stdout.readline()
    with Turnstile(tmp_path).held_if_free() as free:
        assert not free
    holder.kill()
    holder.communicate()
    with Turnstile(tmp_path).held():
        pass


def test_who_does_not_want_to_wait_does_not_pass_who_waits(tmp_path: Path) -> None:
    turnstile = Turnstile(tmp_path)
    entered = threading.Event()

    def wait() -> None:
        with turnstile.held():
            entered.set()

    with turnstile.held():
        waiter = threading.Thread(target=wait)
        waiter.start()
        wait_for(lambda: _is_queued(tmp_path))
        with turnstile.held_if_free() as free:
            assert not free
    waiter.join()
    assert entered.is_set()


def _is_queued(folder: Path) -> bool:
    with exclusive_if_free(folder / "queue.lock") as free:
        return not free
