from __future__ import annotations

from datetime import timedelta

from lib.clock import ManualClock
from lib.workspace.ancestry import CLOCK_SLACK, MAX_OLD_COMMITS, REQUEST_TRAILER
from lib.workspace.workspace import Put, Workspace
from tests.lib.workspace.place import ANNA, Place, write


def commit(workspace: Workspace, name: str, request: str | None = None) -> str:
    trailers = {REQUEST_TRAILER: request} if request else None
    result = workspace.commit(
        lambda _: [Put(f"contexts/x/{name}", name.encode())], f"add {name}", ANNA, trailers=trailers
    )
    assert result.commit is not None
    return result.commit


def test_a_request_is_found_by_its_trailer(place: Place) -> None:
    clock = ManualClock()
    workspace = place.open(clock=clock)
    began = clock.now()
    wanted = commit(workspace, "a", "a" * 64)
    for number in range(5):
        clock.advance(seconds=1)
        commit(workspace, f"b{number}", f"{number}" * 64)

    assert workspace.find_request("a" * 64, since=began).commit == wanted
    assert workspace.find_request("a" * 63, since=began).commit is None
    workspace.close()


def test_history_before_the_request_is_not_walked(place: Place) -> None:
    clock = ManualClock()
    workspace = place.open(clock=clock)
    commit(workspace, "a", "a" * 64)
    clock.advance(seconds=1)
    for number in range(MAX_OLD_COMMITS + 1):
        commit(workspace, f"b{number}")

    since = clock.now() + CLOCK_SLACK + timedelta(seconds=1)
    assert workspace.find_request("a" * 64, since=since).commit is None
    workspace.close()


def test_a_request_is_found_below_a_merge_with_a_wrong_clock(place: Place) -> None:
    clock = ManualClock()
    workspace = place.open(clock=clock)
    clone = place.clone()
    wanted = commit(workspace, "a", "a" * 64)
    write(clone / "contexts/x/by-hand", b"1")
    place.git("add", ".", cwd=clone)
    place.git("-c", "user.name=P", "commit", "-qm", "mine", "--date=2001-01-01", cwd=clone)
    place.git("fetch", "-q", "origin", cwd=clone)
    place.git("merge", "-q", "-m", "merge", "origin/main", cwd=clone)
    place.git("push", "-q", "origin", "HEAD:main", cwd=clone)

    assert workspace.find_request("a" * 64, since=clock.now()).commit == wanted
    workspace.close()


def test_a_subject_cannot_pass_for_a_trailer(place: Place) -> None:
    clock = ManualClock()
    workspace = place.open(clock=clock)
    title = f"x\n\n{REQUEST_TRAILER}: {'a' * 64}"
    workspace.commit(lambda _: [Put("contexts/x/y", b"1")], title, ANNA)

    assert workspace.find_request("a" * 64, since=clock.now()).commit is None
    workspace.close()
