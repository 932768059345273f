"""Real installations by uv and npm, from an index on loopback."""

from __future__ import annotations

import errno
import functools
import json
import os
import select
import shutil
import stat
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lib.environments.installer_settings import InstallerSettings
from lib.environments.installers import NodeInstaller, PythonInstaller
from lib.environments.recipe import InstallCancelled, InstallError
from lib.sandbox import process_tree
from lib.sandbox.runtimes import base_python
from lib.settings import load_settings
from tests.lib.environments.index import Index, serving
from tests.lib.environments.packages import integrity, npm_package, sdist, wheel
from tests.lib.environments.place import (
    DEADLINE_SECONDS,
    Place,
    Recorded,
    package,
    requirements,
    run_python,
)

NEEDS_NODE = pytest.mark.skipif(not shutil.which("npm"), reason="there is no npm")
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")


def failure(place: Place, *lines: str, **options: Any) -> str:
    with pytest.raises(InstallError) as caught:
        place.install(requirements(*lines, **options))
    return str(caught.value)


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, errors


def joined(thread: threading.Thread) -> None:
    thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()


def test_packages_and_what_they_need_can_be_imported(place: Place) -> None:
    found = place.install(requirements("needy"))
    assert (
        run_python(found, "import needy, plain; print(needy.VERSION, plain.VERSION)") == "1.0 2.0"
    )


def test_a_console_script_is_on_the_search_path_and_finds_its_package(
    place: Place, index: Index
) -> None:
    files = {"tool.py": "def main(): print('tool runs')"}
    index.add(wheel("tool", files=files, scripts={"tool": "tool:main"}))
    found = place.install(requirements("tool"))
    code = (
        "import subprocess; print(subprocess.run(['tool'], capture_output=True, text=True).stdout)"
    )
    assert run_python(found, code) == "tool runs"


def test_a_second_run_installs_nothing(place: Place, index: Index) -> None:
    first, second = Recorded(), Recorded()
    found = place.install(requirements("plain==1.0"), customer=first)
    asked = len(index.asked)
    assert place.install(requirements("plain==1.0  # again"), customer=second) == found
    assert len(index.asked) == asked
    assert "plain==1.0" in first.text
    assert second.lines == []


def test_an_environment_is_read_only_and_compiled(place: Place) -> None:
    found = place.install(requirements("plain"))
    paths = [Path(found.readable[0]), *Path(found.readable[0]).rglob("*")]
    assert not [path for path in paths if stat.S_IMODE(path.lstat().st_mode) & 0o7222]
    assert {path.lstat().st_uid for path in paths} == {os.geteuid()}
    assert [path for path in paths if path.name.startswith("plain.") and path.suffix == ".pyc"]


def test_nothing_of_a_build_is_left_beside_it(place: Place) -> None:
    place.install(requirements("plain"))
    (name,) = place.names()
    assert {path.name for path in (place.folder / name).iterdir()} == {
        "packages",
        "environment.json",
    }


def test_hashes_are_compared(place: Place, index: Index) -> None:
    good = index.hash_of("plain-1.0-py3-none-any.whl")
    place.install(requirements(f"plain==1.0 --hash={good}"))
    assert "hash" in failure(place, f"plain==1.0 --hash=sha256:{'0' * 64}").lower()


def test_of_a_pinned_file_every_package_needs_a_hash(place: Place, index: Index) -> None:
    index.add(wheel("other"))
    good = index.hash_of("plain-1.0-py3-none-any.whl")
    assert "hash" in failure(place, f"plain==1.0 --hash={good}", "other==1.0").lower()


def test_what_is_not_there_is_said_in_the_installer_s_words(place: Place) -> None:
    said = failure(place, "never-heard-of-it")
    assert said.startswith("requirements.txt could not be installed: ")
    assert "never-heard-of-it" in said
    assert "No solution found" in said
    assert place.names() == set()
    assert place.locks() == set()


def test_a_source_distribution_is_not_built_unasked(place: Place, index: Index) -> None:
    index.add(sdist("built"))
    said = failure(place, "built")
    assert "exec.source_builds" in said


def test_a_source_distribution_is_built_when_asked(place: Place, index: Index) -> None:
    index.add(sdist("built", code="RESULT = 'HOW = 1'"))
    found = place.install(requirements("built", source_builds=True))
    assert run_python(found, "import built; print(built.HOW)") == "1"


def test_a_failure_is_not_remembered(place: Place, index: Index) -> None:
    failure(place, "late")
    index.add(wheel("late"))
    assert (
        run_python(place.install(requirements("late")), "import late; print(late.VERSION)") == "1.0"
    )


def test_many_threads_share_one_build(place: Place, index: Index) -> None:
    index.is_open.clear()
    customers = [Recorded() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        futures = [
            pool.submit(place.install, requirements("plain==1.0"), customer=each)
            for each in customers
        ]
        for each in customers:
            assert each.was_told.wait(DEADLINE_SECONDS)
        index.is_open.set()
        assert len({future.result(DEADLINE_SECONDS).readable for future in futures}) == 1
    assert sum(path.startswith("/simple/plain") for path in index.asked) == 1
    assert sum("Installing" in each.text for each in customers) == 1
    assert sum("Another run's installation" in each.text for each in customers) == 5


def test_the_first_that_keeps_a_log_gets_it_whoever_began(place: Place, index: Index) -> None:
    index.is_open.clear()
    early, run = Recorded(keeps_log=False), Recorded()
    customers = (early, run)
    work = []
    for each in customers:
        work += [in_thread(functools.partial(place.install, requirements("plain"), customer=each))]
        assert each.was_told.wait(DEADLINE_SECONDS)
    index.is_open.set()
    for thread, _ in work:
        joined(thread)
    assert "+ plain==" in run.text
    assert "+ plain==" not in early.text


def test_all_that_wait_learn_of_a_failure_and_none_tries_again(place: Place, index: Index) -> None:
    index.is_open.clear()
    customers = [Recorded() for _ in range(3)]
    work = [
        in_thread(functools.partial(place.install, requirements("absent"), customer=each))
        for each in customers
    ]
    for each in customers:
        assert each.was_told.wait(DEADLINE_SECONDS)
    index.is_open.set()
    for thread, errors in work:
        joined(thread)
        assert isinstance(errors[0], InstallError)
    assert sum(path.startswith("/simple/absent") for path in index.asked) == 1


def test_who_is_cancelled_leaves_and_the_others_get_their_packages(
    place: Place, index: Index
) -> None:
    index.is_open.clear()
    first, second = Recorded(), Recorded()
    leaver, errors = in_thread(lambda: place.install(requirements("plain"), customer=first))
    assert first.was_told.wait(DEADLINE_SECONDS)
    stayer, none = in_thread(lambda: place.install(requirements("plain"), customer=second))
    assert second.was_told.wait(DEADLINE_SECONDS)
    first.wants_out.set()
    joined(leaver)
    assert isinstance(errors[0], InstallCancelled)
    index.is_open.set()
    joined(stayer)
    assert none == []
    assert len(place.names()) == 1


def test_a_build_that_nobody_wants_any_more_is_ended_with_all_its_processes(
    place: Place, index: Index
) -> None:
    others = process_tree.descendants(os.getpid())  # servers of other tests
    index.is_open.clear()
    customer = Recorded()
    thread, errors = in_thread(lambda: place.install(requirements("plain"), customer=customer))
    assert index.is_asked.wait(DEADLINE_SECONDS)
    started = [pid for pid in process_tree.descendants(os.getpid()) if pid not in others]
    customer.wants_out.set()
    joined(thread)
    assert isinstance(errors[0], InstallCancelled)
    until_gone(place, started)
    index.is_open.set()
    assert run_python(place.install(requirements("plain==1.0")), "import plain; print(1)") == "1"


def until_gone(place: Place, pids: list[int]) -> None:
    """Wait until these processes have ended, and the folder is empty."""
    for pid in pids:
        await_end(pid)
    for thread in threading.enumerate():
        if thread.name.startswith("install-"):
            joined(thread)
    assert place.names() == set()


def await_end(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], DEADLINE_SECONDS)[0], f"{pid} lives on"
    finally:
        os.close(descriptor)


def test_an_installer_that_takes_too_long_is_ended(tmp_path: Path, index: Index) -> None:
    index.is_open.clear()
    place = Place(tmp_path, index.variables, timeout_seconds=1.0)
    assert "within 1 s" in failure(place, "plain")
    assert place.names() == set()


def test_packages_that_are_too_large_are_refused(tmp_path: Path, index: Index) -> None:
    files = {"huge.py": "", "huge.bin": "".join(chr(65 + n % 26) for n in range(100)) * 200_000}
    index.add(wheel("huge", files=files))
    place = Place(tmp_path, index.variables, disk_bytes=8 << 20)
    assert "more than 8 MiB" in failure(place, "huge")
    assert place.names() == set()


@NEEDS_ROOT
def test_a_full_disk_fails_the_installation_and_leaves_nothing(
    tmp_path: Path, index: Index
) -> None:
    text = "".join(f"{n}\n" for n in range(3_000_000))
    index.add(wheel("huge", files={"huge.py": "", "huge.txt": text}))
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "small", str(small)], check=True)
    try:
        place = Place(small, index.variables)
        said = failure(place, "huge")
        assert os.strerror(errno.ENOSPC) in said
        assert place.names() == set()
        place.install(requirements("plain"))  # and the next one fits
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_package_cannot_send_the_installer_to_an_address(place: Place, index: Index) -> None:
    other = f"http://127.0.0.1:{index.port}/elsewhere/plain-1.0-py3-none-any.whl"
    index.add(wheel("evil", requires=(f"plain @ {other}",)))
    assert "URL" in failure(place, "evil")
    assert not any(path.startswith("/elsewhere") for path in index.asked)


@NEEDS_NODE
def test_a_node_package_cannot_send_the_installer_to_a_private_address(
    place: Place, index: Index
) -> None:
    with serving() as private:
        other = f"http://127.0.0.1:{private.port}/tarballs/even"
        private.add_npm(npm_package("even"))
        index.add_npm(npm_package("odd", dependencies={"even": other}))
        with pytest.raises(InstallError):
            place.install(package('{"dependencies": {"odd": "*"}}'))
        assert private.asked == []


def test_a_password_of_the_index_is_in_no_log(tmp_path: Path, index: Index) -> None:
    index.password = "ada:correct-horse"
    place = Place(tmp_path, index.variables)
    customer = Recorded()
    place.install(requirements("plain"), customer=customer)
    customer.tell([failure(place, "absent")])
    index.password = "ada:another-horse"
    customer.tell([failure(place, "absent")])
    assert "absent" in customer.text
    assert "horse" not in customer.text
    (name,) = place.names()
    assert "horse" not in (place.folder / name / "environment.json").read_text()


def test_a_package_is_not_built_where_it_could_read_the_index_s_password(
    tmp_path: Path, index: Index
) -> None:
    index.password = "ada:correct-horse"
    index.add(sdist("built"))
    place = Place(tmp_path, index.variables)
    assert "password" in failure(place, "built", source_builds=True)
    assert index.asked == []


def test_variables_of_pip_say_where_the_index_is(tmp_path: Path, index: Index) -> None:
    place = Place(tmp_path, {"PIP_INDEX_URL": index.url})
    place.install(requirements("plain"))
    assert index.asked


def test_a_folder_of_wheels_is_found_by_a_confined_installer(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    name, data = wheel("local")
    (wheels / name).write_bytes(data)
    place = Place(tmp_path / "data", {"PIP_FIND_LINKS": str(wheels), "PIP_NO_INDEX": "1"})
    found = place.install(requirements("local"))
    assert run_python(found, "import local; print(local.VERSION)") == "1.0"


def test_without_uv_it_says_what_is_missing() -> None:
    installer = PythonInstaller(python=base_python(), uv=None, settings=InstallerSettings())
    with pytest.raises(InstallError, match="no uv"):
        _ = installer.tools


def test_without_npm_it_says_what_is_missing() -> None:
    installer = NodeInstaller(node=Path("/bin/true"), npm=None, settings=InstallerSettings())
    with pytest.raises(InstallError, match="no npm"):
        _ = installer.tools


def test_isolation_off_installs_unconfined_and_says_so(tmp_path: Path, index: Index) -> None:
    place = Place(tmp_path, index.variables, isolation="off")
    customer = Recorded()
    found = place.install(requirements("needy"), customer=customer)
    assert run_python(found, "import needy; print(needy.VERSION)") == "1.0"
    assert "not confined" in customer.text


@NEEDS_NODE
def test_node_packages_are_found_by_require_and_by_import(
    place: Place, index: Index, tmp_path: Path
) -> None:
    index.add_npm(npm_package("odd", dependencies={"even": "^1.0.0"}), npm_package("even"))
    found = place.install(package('{"dependencies": {"odd": "1.0.0"}}'))
    assert shown_by_node(tmp_path, found.links) == ["odd 1.0.0", "odd 1.0.0"]


def shown_by_node(folder: Path, links: tuple[tuple[str, str], ...]) -> list[str]:
    for name, target in links:
        (folder / name).symlink_to(target)
    (folder / "a.cjs").write_text("console.log(require('odd'))")
    (folder / "b.mjs").write_text("import odd from 'odd'; console.log(odd)")
    node = shutil.which("node")
    assert node is not None
    return [
        subprocess.run(
            [node, file], cwd=folder, env={}, capture_output=True, text=True, check=True
        ).stdout.strip()
        for file in ("a.cjs", "b.mjs")
    ]


@NEEDS_NODE
def test_scripts_of_node_packages_do_not_run(place: Place, index: Index) -> None:
    script = "node -e \"require('fs').writeFileSync('ran', '')\""
    index.add_npm(
        npm_package("odd", scripts={"preinstall": script, "install": script, "postinstall": script})
    )
    found = place.install(package('{"dependencies": {"odd": "*"}}'))
    assert not list(Path(found.readable[0]).rglob("ran"))


@NEEDS_NODE
def test_a_lock_decides_the_version_and_its_hash_is_compared(place: Place, index: Index) -> None:
    odd = npm_package("odd")
    index.add_npm(odd)

    def lock(digest: str) -> str:
        root = {"dependencies": {"odd": "^1.0.0"}}
        entry = {
            "version": "1.0.0",
            "integrity": digest,
            "resolved": "https://elsewhere.example/x.tgz",
        }
        packages = {"": root, "node_modules/odd": entry}
        return json.dumps({"lockfileVersion": 3, "requires": True, "packages": packages})

    wanted = '{"dependencies": {"odd": "^1.0.0"}}'
    found = place.install(package(wanted, lock=lock(integrity(odd[2]))))
    assert (Path(found.readable[0]) / "node_modules/odd/index.js").is_file()
    with pytest.raises(InstallError, match="EINTEGRITY"):
        place.install(package(wanted, lock=lock(integrity(b"another"))))


@NEEDS_NODE
def test_a_node_package_that_is_not_there_is_said_in_npm_s_words(place: Place) -> None:
    with pytest.raises(InstallError, match="404"):
        place.install(package('{"dependencies": {"never-heard-of-it": "*"}}'))
    assert place.names() == set()


@NEEDS_NODE
def test_a_worker_may_need_packages_of_both_kinds(place: Place, index: Index) -> None:
    index.add_npm(npm_package("odd"))
    found = place.install(requirements("plain"), package('{"dependencies": {"odd": "*"}}'))
    assert len(found.readable) == 2
    assert len(found.programs) == 2
    assert set(found.variables) == {"PYTHONUSERBASE"}


@pytest.mark.soak
def test_real_packages_from_the_index_that_the_environment_names(tmp_path: Path) -> None:
    variables = load_settings(dotenv=tmp_path / "none").installer_variables
    place = Place(tmp_path, dict(variables))
    found = place.install(requirements("requests", "pyyaml"))
    code = "import requests, yaml; print(yaml.safe_load('a: 1'), requests.__name__)"
    assert run_python(found, code) == "{'a': 1} requests"


@pytest.mark.soak
@NEEDS_NODE
def test_a_real_node_package_from_the_registry(tmp_path: Path) -> None:
    variables = load_settings(dotenv=tmp_path / "none").installer_variables
    found = Place(tmp_path, dict(variables)).install(
        package('{"dependencies": {"is-odd": "3.0.1"}}')
    )
    assert (Path(found.readable[0]) / "node_modules/is-odd/index.js").is_file()
