"""A workspace as a zip: out, in, out again."""

from __future__ import annotations

import io
import json
import random
import threading
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lib.clock import ManualClock
from lib.ids import Ids
from lib.manifest.loader import LoadedManifest, load_manifest
from lib.workspace.errors import WorkspaceUnavailable
from lib.workspace.export import SUMMARY, Export, ExportTooLarge, export
from lib.workspace.import_ import ImportReport, UnknownSchema, WorkspaceImport
from lib.workspace.incoming import FreeIds
from lib.workspace.issues import Asset, IssueQuery, Issues, NewIssue, names
from lib.workspace.registry import Registry
from lib.workspace.tree_edits import Delete
from lib.workspace.workspace import Put, Workspace
from lib.workspace.zip_reader import ZipLimits, read_zip
from tests.lib.workspace.place import ANNA, Place, put

AT = datetime(2026, 5, 1, tzinfo=UTC)
HEAD = 'schema_version: "0.3"\nname: {0}\ntitle: Worker {0}\ndescription: x\nversion: 1.0.0\n'
BY: dict[str, Any] = {"author": ANNA, "by": "anna"}


def manifest(name: str, more: str = "") -> bytes:
    return (HEAD.format(name) + "entrypoint: run.py\n" + more).encode()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace with nothing in it."""
    place = Place(tmp_path / "other")
    place.base.mkdir()
    place.engine.mkdir()
    place.seed.mkdir()
    workspace = place.open()
    yield workspace
    workspace.close()
    place.fsck()


def filled(workspace: Workspace) -> Workspace:
    """A workspace with something of each kind, and much that must not leave it."""
    put(
        workspace,
        ("workers/a/worker.yml", manifest("a", "exec: {secrets: [KEY]}\nconnections: [gmail]\n")),
        Put("workers/a/run.py", b"print(1)\n", 0o100755),
        ("workers/a/data/\u00fc.bin", bytes(range(256))),
        ("workers/a/.env", b"TOKEN=1"),
        ("workers/a/x.pem", b"-----"),
        ("workers/b/worker.yml", manifest("b")),
        ("workers/b/run.py", b""),
        ("workers/stray.txt", b"in no worker"),
        ("contexts/handbook/page.md", b"# Page\n"),
        ("workspace.md", b"Be kind.\n"),
        (".floom/quarantine/b", b""),
    )
    clock = ManualClock()
    issues = Issues(workspace, clock=clock, ids=Ids(clock))
    issues.create(NewIssue(title="first", asset=Asset("worker", "a")), **BY)
    issues.comment("ISSUE-0001", "hello", **BY)
    put(workspace, (".floom/issues/.next", b"150\n"))
    issues.create(NewIssue(title="far"), **BY)
    return workspace


def exported(workspace: Workspace) -> bytes:
    return taken(export(workspace, load_manifest, exported_at=AT))


def taken(made: Export) -> bytes:
    with made.file as file:
        data = file.read()
    assert len(data) == made.size
    return data


def contents(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def imported(workspace: Workspace, data: bytes) -> ImportReport:
    incoming = WorkspaceImport(read_zip(data, ZipLimits()), load_manifest=load_manifest)
    return incoming.commit(workspace, ANNA, {})


def skips(report: ImportReport) -> dict[str, str]:
    return {each.id: each.reason for each in report.skipped}


class TestExport:
    def test_it_holds_what_the_workspace_is_made_of_and_nothing_else(
        self, workspace: Workspace
    ) -> None:
        found = contents(exported(filled(workspace)))

        assert [*found] == sorted(found)
        assert [name for name in found if not name.startswith("workers/hello/")] == [
            "contexts/handbook/page.md",
            "issues/ISSUE-0001.comments.ndjson",
            "issues/ISSUE-0001.md",
            "issues/ISSUE-0150.md",
            "workers/a/data/\u00fc.bin",
            "workers/a/run.py",
            "workers/a/worker.yml",
            "workers/b/run.py",
            "workers/b/worker.yml",
            "workspace.json",
            "workspace.md",
        ]
        summary = json.loads(found["workspace.json"])
        assert summary["counts"] == {"workers": 3, "contexts": 1, "issues": 2, "left_out": 3}
        assert summary["next_issue"] == 151
        assert summary["left_out"] == [
            {"path": "workers/a/.env", "reason": "may hold a secret"},
            {"path": "workers/a/x.pem", "reason": "may hold a secret"},
            {"path": "workers/stray.txt", "reason": "is part of no worker and no context"},
        ]
        assert summary["exported_at"] == "2026-05-01T00:00:00.000Z"
        assert summary["required_secrets"] == ["KEY"]
        assert summary["required_connections"] == ["gmail"]
        assert summary["workers"][0] == {
            "id": "a", "title": "Worker a", "trigger_type": "manual", "required_secrets": ["KEY"],
            "required_connections": ["gmail"], "file_count": 3,
        }  # fmt: skip

    def test_the_same_workspace_gives_the_same_bytes(self, workspace: Workspace) -> None:
        filled(workspace)
        first = taken(export(workspace, load_manifest))
        assert taken(export(workspace, load_manifest)) == first
        tip = workspace.tip()
        assert tip is not None
        at = json.loads(contents(first)["workspace.json"])["exported_at"]
        assert datetime.fromisoformat(at) == workspace.commit_info(tip).committed_at

    def test_modes_are_kept(self, workspace: Workspace) -> None:
        files = read_zip(exported(filled(workspace)), ZipLimits())
        assert {file.path for file in files if file.is_executable} == {"workers/a/run.py"}

    def test_links_stay(self, place: Place, workspace: Workspace) -> None:
        clone = place.clone()
        (clone / "workers/hello/link").symlink_to("/etc/passwd")
        place.git("add", "-A", cwd=clone)
        place.git("commit", "-qm", "link", cwd=clone)
        place.git("push", "-q", "origin", "HEAD:main", cwd=clone)
        assert "workers/hello/link" not in contents(exported(workspace))

    def test_what_looks_like_a_credential_is_named(self, workspace: Workspace) -> None:
        put(workspace, ("contexts/a/notes.md", b"x\nnpm_" + b"aB3dE6gH9j" * 3 + b"aB3dE6\n"))
        made = export(workspace, load_manifest)
        taken(made)
        (finding,) = made.findings
        assert (finding.path, finding.line, finding.kind) == ("contexts/a/notes.md", 2, "npm token")


class TestLimits:
    """What is exported can be imported, or is refused with words for it."""

    def test_what_packs_very_well_can_be_imported(
        self, workspace: Workspace, other: Workspace
    ) -> None:
        zeros = bytes(5 * 1024 * 1024)
        put(workspace, ("contexts/a/zeros", zeros), ("contexts/a/text", b"text " * 99_999))

        imported(other, exported(workspace))

        assert other.view().read("contexts/a/zeros") == zeros

    def test_no_more_is_stored_than_must_be(self, workspace: Workspace) -> None:
        """5 MiB in a 200th of that lack 20 KiB or so."""
        put(
            workspace,
            ("contexts/a/little", bytes(9_999)),
            ("contexts/a/enough", bytes(39_999)),
            ("contexts/a/much", bytes(5 * 1024 * 1024)),
        )
        with zipfile.ZipFile(io.BytesIO(exported(workspace))) as archive:
            stored = [each.filename for each in archive.infolist() if not each.compress_type]
        assert stored == ["contexts/a/enough"]

    def test_ordinary_files_let_others_pack_well(self, workspace: Workspace) -> None:
        noise = random.Random(1).randbytes(200_000)
        put(workspace, ("contexts/a/zeros", bytes(9_999_999)), ("contexts/a/noise", noise))
        with zipfile.ZipFile(io.BytesIO(exported(workspace))) as archive:
            assert all(each.compress_type for each in archive.infolist())

    @pytest.mark.parametrize(
        ("limits", "words"),
        [
            (ZipLimits(entries=7), r"8 files.*7 at most.*contexts/b has 4"),
            (ZipLimits(unpacked_bytes=40_000), r"0\.03815 MiB unpacked.*0\.0[34]\d* MiB are in contexts/b"),
            (ZipLimits(packed_bytes=20_000), r"0\.01907 MiB packed.*contexts/b"),
        ],
    )  # fmt: skip
    def test_what_could_not_be_imported_is_refused(
        self, workspace: Workspace, other: Workspace, limits: ZipLimits, words: str
    ) -> None:
        noise = random.Random(1)
        put(workspace, ("contexts/a/x", b"x"))
        put(workspace, *((f"contexts/b/{n}", noise.randbytes(10_000)) for n in range(4)))
        with pytest.raises(ExportTooLarge, match=words):
            export(workspace, load_manifest, limits=limits)
        assert imported(other, exported(workspace)).contexts == ["a", "b"]

    def test_the_directory_of_the_zip_counts_too(self, workspace: Workspace) -> None:
        data = exported(workspace)
        for size in (len(data) - 1, len(data)):
            limits = ZipLimits(packed_bytes=size)
            if size == len(data):
                assert (
                    taken(export(workspace, load_manifest, exported_at=AT, limits=limits)) == data
                )
            else:
                with pytest.raises(ExportTooLarge):
                    export(workspace, load_manifest, exported_at=AT, limits=limits)

    def test_a_disk_that_takes_no_copy_is_named(self, workspace: Workspace, tmp_path: Path) -> None:
        noise = random.Random(1).randbytes(9 * 1024 * 1024)
        put(workspace, ("contexts/a/noise", noise))
        with pytest.raises(WorkspaceUnavailable, match="No such file"):
            export(workspace, load_manifest, scratch=str(tmp_path / "gone"))

    def test_names_that_differ_by_case_do_not_spoil_the_export(
        self, workspace: Workspace, other: Workspace
    ) -> None:
        put(workspace, ("contexts/a/Page.md", b"1"), ("contexts/a/page.md", b"2"))
        data = exported(workspace)
        assert json.loads(contents(data)[SUMMARY])["left_out"] == [
            {
                "path": "contexts/a/Page.md",
                "reason": "differs from contexts/a/page.md by case only",
            }
        ]
        assert imported(other, data).contexts == ["a"]


class TestImport:
    def test_out_in_and_out_again_is_the_same(self, workspace: Workspace, other: Workspace) -> None:
        data = exported(filled(workspace))

        report = imported(other, data)

        assert report.skipped == []
        assert report.workers == ["a", "b", "hello"]
        assert report.contexts == ["handbook"]
        assert report.issues == ["ISSUE-0001", "ISSUE-0150"]
        assert report.workspace_md_present
        assert (report.required_secrets, report.required_connections) == ({"KEY"}, {"gmail"})
        found, again = contents(data), contents(exported(other))
        before, after = json.loads(found.pop(SUMMARY)), json.loads(again.pop(SUMMARY))
        assert again == found
        assert [each["path"] for each in before.pop("left_out")][-1] == "workers/stray.txt"
        assert after.pop("left_out") == []
        assert before.pop("counts") == {**after.pop("counts"), "left_out": 3}
        assert after == before
        tip = other.tip()
        assert tip is not None
        assert other.commit_info(tip).message.splitlines()[0] == "workspace: import"
        assert len([*other.history()]) == 2
        registry = Registry(other)
        assert all(worker.quarantined for worker in registry.current().workers.values())

    def test_a_second_time_nothing_is_overwritten(
        self, workspace: Workspace, other: Workspace
    ) -> None:
        data = exported(filled(workspace))
        imported(other, data)
        issues = Issues(other, clock=ManualClock(), ids=Ids(ManualClock()))
        before = issues.list(IssueQuery())

        report = imported(other, data)

        assert report.id_remaps == {"a": "a-2", "b": "b-2", "hello": "hello-2"}
        assert report.contexts == []
        assert report.issues == []
        assert skips(report) == {
            "handbook": "exists",
            "ISSUE-0001": "exists",
            "ISSUE-0150": "exists",
            "ISSUE-0001.comments.ndjson": "its issue is not imported",
            "workspace.md": "exists",
        }
        assert issues.list(IssueQuery()) == before
        copy = Registry(other).current().workers["a-2"]
        assert not any(problem.code == "name_differs" for problem in copy.loaded.problems)
        assert b"name: a-2\n" in other.view().read("workers/a-2/worker.yml")
        assert imported(other, data).id_remaps["a"] == "a-3"

    def test_issues_follow_their_worker_and_ids_go_on_above(
        self, workspace: Workspace, other: Workspace
    ) -> None:
        data = exported(filled(workspace))
        put(other, ("workers/a/worker.yml", manifest("a")), ("workers/a/run.py", b""))

        assert imported(other, data).id_remaps == {"a": "a-2"}

        issues = Issues(other, clock=ManualClock(), ids=Ids(ManualClock()))
        assert issues.get("ISSUE-0001").issue.asset_id == "a-2"
        assert issues.create(NewIssue(title="next"), **BY).id == "ISSUE-0151"

    def test_what_does_not_hold_is_skipped_with_its_reason(self, other: Workspace) -> None:
        report = imported(
            other,
            zipped(
                {
                    "workers/good/worker.yml": manifest("good"),
                    "workers/good/run.py": b"",
                    "workers/good/.env": b"TOKEN=1",
                    "workers/none/run.py": b"",
                    "workers/broken/worker.yml": b"name: [",
                    "workers/Bad Name/worker.yml": manifest("x"),
                    "workers/reload/worker.yml": manifest("reload"),
                    "workers/loose.txt": b"",
                    "contexts/bad name/x": b"",
                    "contexts/empty/credentials": b"",
                    "issues/ISSUE-0001.md": b"no front matter",
                    "issues/ISSUE-0001.comments.ndjson": b"",
                    "issues/ISSUE-0002.md": b"---\ntitle: good\n---\n",
                    "issues/ISSUE-0002.comments.ndjson": b"<<<<<<<\n",
                    "issues/3/ISSUE-0300.md": b"---\ntitle: deep\n---\n",
                    "issues/notes.md": b"",
                    "README.md": b"",
                }
            ),
        )
        assert report.workers == ["good"]
        assert report.contexts == []
        assert report.issues == ["ISSUE-0002"]
        assert {*skips(report)} == {
            "workers/good/.env", "none", "broken", "Bad Name", "reload", "workers/loose.txt",
            "bad name", "contexts/empty/credentials", "ISSUE-0001", "ISSUE-0001.comments.ndjson",
            "ISSUE-0002.comments.ndjson", "issues/3/ISSUE-0300.md", "issues/notes.md", "README.md",
        }  # fmt: skip
        assert "worker.yml" in skips(report)["none"]
        assert "line 1" in skips(report)["broken"]

    @pytest.mark.parametrize("version", [2, "1", None, True, 1.5])
    def test_another_schema_is_refused(self, other: Workspace, version: Any) -> None:
        data = zipped({"workspace.json": json.dumps({"schema_version": version}).encode()})
        with pytest.raises(UnknownSchema):
            imported(other, data)
        with pytest.raises(UnknownSchema):
            imported(other, zipped({"workspace.json": b"[1"}))

    def test_nothing_to_take_is_no_commit(self, other: Workspace) -> None:
        tip = other.tip()
        assert imported(other, zipped({})).workers == []
        assert other.tip() == tip

    def test_numbers_near_the_last_are_left_out(self, other: Workspace) -> None:
        data = b"---\ntitle: far\n---\n"
        names = ("ISSUE-999999999.md", "ISSUE-999999999999999999.md", "ISSUE-0005.md")
        report = imported(other, zipped({f"issues/{name}": data for name in names}))
        assert report.issues == ["ISSUE-0005"]
        assert {*skips(report)} == {"ISSUE-999999999", "issues/ISSUE-999999999999999999.md"}
        issues = Issues(other, clock=ManualClock(), ids=Ids(ManualClock()))
        assert issues.create(NewIssue(title="next"), **BY).id == "ISSUE-0006"

    def test_while_others_wait_nothing_is_read_that_was_read_before(
        self, workspace: Workspace, other: Workspace
    ) -> None:
        """Manifests are slow to read: in the committer's thread every other commit waits."""
        readers: list[str] = []

        def load(*args: Any, **more: Any) -> LoadedManifest:
            readers.append(threading.current_thread().name)
            return load_manifest(*args, **more)

        files = read_zip(exported(filled(workspace)), ZipLimits())
        report = WorkspaceImport(files, load_manifest=load).commit(other, ANNA, {})
        assert report.workers == ["a", "b", "hello"]
        assert readers == [threading.current_thread().name] * 3

    def test_what_comes_between_is_not_overwritten(
        self, workspace: Workspace, other: Workspace
    ) -> None:
        """Somebody makes the same issue and worker after the zip was looked at."""
        data = exported(filled(workspace))
        incoming = WorkspaceImport(read_zip(data, ZipLimits()), load_manifest=load_manifest)
        incoming.preview(other.view())
        put(other, ("workers/a/worker.yml", b"mine"), (".floom/issues/ISSUE-0001.md", b"mine"))

        report = incoming.commit(other, ANNA, {})

        assert report.id_remaps == {"a": "a-2"}
        assert other.view().read("workers/a/worker.yml") == b"mine"
        assert other.view().read(".floom/issues/ISSUE-0001.md") == b"mine"

    def test_credentials_inside_are_warned_of(self, other: Workspace) -> None:
        leak = b"npm_" + b"aB3dE6gH9j" * 3 + b"aB3dE6\n"
        (warning,) = imported(other, zipped({"contexts/a/x.md": leak})).warnings
        assert "contexts/a/x.md, line 1" in warning
        assert leak.decode().strip() not in warning


class TestNextIssue:
    """A number that a deleted issue had is given to no other issue, there either."""

    def test_it_travels(self, workspace: Workspace, other: Workspace) -> None:
        clock = ManualClock()
        issues = Issues(workspace, clock=clock, ids=Ids(clock))
        for title in ("one", "two"):
            issues.create(NewIssue(title=title), **BY)
        workspace.commit(lambda _: [Delete(names.document_path(2))], "issues: delete", ANNA)

        imported(other, exported(workspace))

        elsewhere = Issues(other, clock=clock, ids=Ids(clock))
        assert elsewhere.create(NewIssue(title="three"), **BY).id == "ISSUE-0003"

    def test_it_is_only_raised(self, workspace: Workspace, other: Workspace) -> None:
        put(other, (names.COUNTER, b"77\n"))
        imported(other, exported(filled(workspace)))
        assert other.view().read(names.COUNTER) == b"151\n"
        tip = other.tip()
        imported(other, zipped({SUMMARY: b'{"schema_version": 1, "next_issue": 150}'}))
        assert other.tip() == tip

    @pytest.mark.parametrize(
        "value", ["0", "-3", "1.5", "1e3", "true", "null", '"9"', "[9]", "100000001", "9" * 4000]
    )
    def test_nonsense_is_ignored(self, other: Workspace, value: str) -> None:
        tip = other.tip()
        imported(
            other, zipped({SUMMARY: b'{"schema_version": 1, "next_issue": %s}' % value.encode()})
        )
        assert other.tip() == tip

    def test_the_highest_is_taken(self, other: Workspace) -> None:
        imported(other, zipped({SUMMARY: b'{"schema_version": 1, "next_issue": 100000000}'}))
        assert names.next_number(other.view()) == names.MAX_IMPORTED + 1

    def test_a_context_that_differs_by_case_only_is_there_already(self, other: Workspace) -> None:
        put(other, ("contexts/docs/a.md", b"mine"))
        report = imported(other, zipped({"contexts/Docs/a.md": b"theirs"}))
        assert skips(report) == {"Docs": "exists"}

    def test_a_counter_that_rises_is_said(self, other: Workspace) -> None:
        summary = json.dumps({"schema_version": 1, "next_issue": 500}).encode()
        (warning,) = imported(other, zipped({"workspace.json": summary})).warnings
        assert "ISSUE-0500" in warning


def test_many_ids_of_full_length_find_free_ones_quickly() -> None:
    """Their stems are the same once a suffix takes their ends."""
    names = [f"{'a' * 60}{number:04}" for number in range(3_000)]
    ids = FreeIds(names)
    found = [ids.take(name) for name in names]
    assert len({*found, *names}) == 6_000
    assert max(map(len, found)) <= 64
    assert FreeIds(["a", "a-2"]).take("a") == "a-3"
    assert FreeIds([]).take("a") == "a"
