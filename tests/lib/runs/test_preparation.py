"""The folder and the environment of an attempt: what runs.md section 4 says, no more."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from lib.environments.environment import Environment
from lib.runs.preparation import AttemptFolder, PreparationError, remove_tree
from lib.storage.ports import StoreUnavailable
from lib.storage.records import RunRecord
from tests.lib.runs.world import LINK, World
from tests.lib.small_disk import SmallDisk

NO_PACKAGES = Environment()
FILE_INPUT = "exec: {{inputs: [{{name: data, kind: file, type: csv{more}}}]}}\n"


def filled(world: World, run: RunRecord, packages: Environment = NO_PACKAGES) -> Path:
    """Fill a run's folder; return its working directory."""
    manifest = world.registry.loaded_at(run.worker_id, run.worker_sha).manifest
    assert manifest is not None
    folder = world.folder(run)
    folder.create()
    world.preparation.fill(folder, run, manifest, packages)
    return folder.work


def inputs_in(work: Path) -> object:
    return json.loads((work / "inputs.json").read_text())


def paths_in(work: Path) -> set[str]:
    return {str(path.relative_to(work)) for path in work.rglob("*") if path.is_file()}


def test_the_folder_holds_the_bundle_the_inputs_and_an_empty_out(world: World) -> None:
    folder = world.write_worker("plain", "exec: {inputs: [{name: who, type: string}]}\n")
    (folder / "lib").mkdir()
    (folder / "lib" / "part.py").write_text("x = 1\n")
    (folder / "tool.sh").write_text("#!/bin/sh\n")
    (folder / "tool.sh").chmod(0o755)
    world.reload()

    work = filled(world, world.claimed(who="Zoë"))

    assert paths_in(work) == {"worker.yml", "run.py", "lib/part.py", "tool.sh", "inputs.json"}
    assert inputs_in(work) == {"who": "Zoë"}
    assert list((work / "out").iterdir()) == []
    assert (work / "tool.sh").stat().st_mode & 0o777 == 0o755
    assert (work / "run.py").stat().st_mode & 0o777 == 0o644


def test_nobody_else_may_enter_the_folder_and_meta_is_empty(world: World) -> None:
    world.add_worker()
    run = world.claimed()
    work = filled(world, run)
    assert work.stat().st_mode & 0o777 == 0o700
    assert list(world.folder(run).meta.iterdir()) == []
    assert world.folder(run).path == world.runs_folder / run.id / str(run.fence)


def test_the_folder_is_made_afresh(world: World) -> None:
    world.add_worker()
    run = world.claimed()
    folder = world.folder(run, made=True)
    (folder.work / "left").write_text("x")
    (folder.meta / "exit.json").write_text("{}")
    work = filled(world, run)
    assert not (work / "left").exists()
    assert list(folder.meta.iterdir()) == []


def test_files_that_the_engine_writes_are_never_taken_from_a_bundle(world: World) -> None:
    folder = world.write_worker("plain", result_json='{"status": "success"}')
    (folder / "inputs.json").write_text('{"who": "forged"}')
    (folder / "out").mkdir()
    (folder / "out" / "report.csv").write_text("forged")
    (folder / "sub").mkdir()
    (folder / "sub" / "result.json").write_text("is no result")
    world.reload()
    work = filled(world, world.claimed())
    assert paths_in(work) == {"worker.yml", "run.py", "inputs.json", "sub/result.json"}
    assert inputs_in(work) == {}


def test_a_link_inside_the_bundle_is_kept(world: World) -> None:
    world.add_worker()
    world.push("workers/plain/sub/link", b"../run.py", LINK)
    work = filled(world, world.claimed())
    assert (work / "sub" / "link").readlink() == Path("../run.py")


@pytest.mark.parametrize("target", ["/etc/passwd", "../other/worker.yml", "a/../../x"])
def test_a_link_that_leaves_the_folder_is_refused(world: World, target: str) -> None:
    world.add_worker()
    world.push("workers/plain/link", target.encode(), LINK)
    with pytest.raises(PreparationError, match="leaves"):
        filled(world, world.claimed())


def test_a_submodule_is_refused(world: World) -> None:
    world.add_worker()
    world.push("workers/plain/module", b"", 0o160000)
    with pytest.raises(PreparationError, match="module is a submodule"):
        filled(world, world.claimed())


def test_a_file_below_a_link_is_never_written_through_it(world: World) -> None:
    world.add_worker(manifest=FILE_INPUT.format(more=", path: link/data.csv"))
    world.push("workers/plain/link", b"real", LINK)
    with pytest.raises(PreparationError):
        filled(world, world.claimed(data=world.upload().id))


def test_a_file_input_stands_at_its_declared_path(world: World) -> None:
    world.add_worker(manifest=FILE_INPUT.format(more=", path: in/orders.csv"))
    work = filled(world, world.claimed(data=world.upload(b"a,b\n1,2\n").id))
    assert (work / "in" / "orders.csv").read_bytes() == b"a,b\n1,2\n"
    assert inputs_in(work) == {"data": "in/orders.csv"}


def test_a_file_input_without_a_path_keeps_its_name(world: World) -> None:
    world.add_worker(manifest=FILE_INPUT.format(more=""))
    work = filled(world, world.claimed(data=world.upload(b"x", "Größe 1.csv").id))
    assert (work / "inputs" / "data" / "Größe 1.csv").read_bytes() == b"x"
    assert inputs_in(work) == {"data": "inputs/data/Größe 1.csv"}


def test_a_file_input_takes_the_place_of_a_file_of_the_bundle(world: World) -> None:
    world.add_worker(
        manifest=FILE_INPUT.format(more=", path: sample.csv"), sample_csv="of the bundle"
    )
    assert (filled(world, world.claimed()) / "sample.csv").read_text() == "of the bundle"
    work = filled(world, world.claimed(data=world.upload(b"given").id))
    assert (work / "sample.csv").read_bytes() == b"given"


def test_text_that_looks_like_an_upload_is_just_text(world: World) -> None:
    world.add_worker(manifest="exec: {inputs: [{name: note, type: string}]}\n")
    upload = world.upload()
    work = filled(world, world.claimed(note=upload.id))
    assert inputs_in(work) == {"note": upload.id}
    assert not (work / "inputs").exists()


def test_a_context_is_there_as_it_was_when_the_run_was_started(world: World) -> None:
    context = world.root / "workspace" / "contexts" / "lore" / "deep"
    context.mkdir(parents=True)
    (context / "a.md").write_text("before")
    world.add_worker(manifest="contexts: [lore]\n")
    run = world.claimed()
    (context / "a.md").write_text("after")
    world.reload()
    assert (filled(world, run) / "context" / "lore" / "deep" / "a.md").read_text() == "before"


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ("lore", "no context lore"),
        ("{name: lore, source: git+https://example.com/x@main}", "outside the workspace"),
    ],
)
def test_a_context_that_cannot_be_placed_is_told(world: World, context: str, message: str) -> None:
    world.add_worker(manifest=f"contexts: [{context}]\n")
    with pytest.raises(PreparationError, match=message):
        filled(world, world.claimed())


def test_the_environment_is_exactly_what_is_promised(world: World) -> None:
    world.add_worker()
    run = world.claimed()
    environment = world.preparation.environment(run, {"API_KEY": "k", "HOME": "/root"}, NO_PACKAGES)
    assert environment == {
        "API_KEY": "k",
        "PATH": "/opt/python/bin:/bin:/usr/local/bin:/usr/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",
        "FLOOM_RUN_ID": run.id,
        "FLOOM_WORKER_ID": "plain",
        "FLOOM_ATTEMPT": "1",
        "FLOOM_PHASE": "",
        "FLOOM_IDEMPOTENCY_KEY": run.id,
    }
    work = filled(world, run)
    assert (work / ".tmp").is_dir()


def test_a_proposing_run_knows_its_phase(world: World) -> None:
    world.add_worker(manifest="approvals: {required: true}\n")
    run = world.claimed()
    environment = world.preparation.environment(run, {}, NO_PACKAGES)
    assert environment["FLOOM_PHASE"] == "propose"


def test_the_server_s_own_environment_never_leaks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "leak")
    world.add_worker()
    run = world.claimed()
    assert "leak" not in str(world.preparation.environment(run, {}, NO_PACKAGES))


def test_a_folder_of_any_depth_and_with_odd_modes_is_removed(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path / "run_1" / "1")
    folder.create()
    here = os.open(folder.work, os.O_RDONLY)
    for _ in range(1_200):  # deeper than Python walks, longer than a path may be
        os.mkdir("d", 0o755, dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    (folder.work / "closed").mkdir(mode=0o500)
    folder.remove()
    assert not folder.path.exists()
    folder.remove()
    remove_tree(tmp_path / "never there")


def test_a_folder_is_made_while_that_of_the_attempt_before_it_is_removed(tmp_path: Path) -> None:
    first, second = (AttemptFolder(tmp_path / "run_1" / fence) for fence in "12")
    first.create()

    def remove_again_and_again() -> None:
        for _ in range(500):
            first.remove()  # and the run's own folder with it, when that is empty

    thread = threading.Thread(target=remove_again_and_again)
    thread.start()
    while thread.is_alive():
        second.create()
        assert second.work.is_dir()
        second.remove()
    thread.join()


def test_removing_a_folder_follows_no_link(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path / "run_1" / "1")
    folder.create()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    (folder.work / "link").symlink_to(tmp_path / "kept")
    folder.remove()
    assert (tmp_path / "kept" / "file").exists()


def test_packages_come_before_the_runtimes_and_go_over_secrets(
    world: World,
) -> None:
    world.add_worker()
    run = world.claimed()
    packages = Environment(
        programs=("/e/bin",), variables={"PYTHONUSERBASE": "/e", "LANG": "x"}, readable=("/e",)
    )
    environment = world.preparation.environment(run, {"PYTHONUSERBASE": "/mine"}, packages)
    assert environment["PATH"].startswith("/e/bin:/opt/python/bin:")
    assert environment["PYTHONUSERBASE"] == "/e"
    assert environment["LANG"] == "C.UTF-8"


def test_links_to_packages_are_placed_beside_the_bundle(world: World, tmp_path: Path) -> None:
    world.add_worker()
    target = tmp_path / "modules"
    work = filled(world, world.claimed(), Environment(links=(("node_modules", str(target)),)))
    assert (work / "node_modules").readlink() == target


def test_a_full_disk_is_no_fault_of_the_worker(world: World, small_disk: SmallDisk) -> None:
    world.add_worker()
    run = world.claimed()
    manifest = world.registry.loaded_at(run.worker_id, run.worker_sha).manifest
    assert manifest is not None
    folder = AttemptFolder(small_disk.path / "attempt")
    folder.create()
    small_disk.fill()
    with pytest.raises(StoreUnavailable, match="No space left"):
        world.preparation.fill(folder, run, manifest, NO_PACKAGES)
    small_disk.clear()
    folder.create()
    world.preparation.fill(folder, run, manifest, NO_PACKAGES)
