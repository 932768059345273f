"""Issues in a workspace, judged by stock git and by a simple model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from lib.clock import ManualClock
from lib.ids import Ids
from lib.workspace.errors import ObjectNotFound
from lib.workspace.issues import (
    Asset,
    Issue,
    IssueBroken,
    IssueChange,
    IssueFull,
    IssueNotFound,
    IssueQuery,
    Issues,
    NewIssue,
    NoNumberLeft,
)
from lib.workspace.issues.comments import MAX_FILE_BYTES
from lib.workspace.workspace import Delete, Workspace
from tests.contract.fused import Fuse
from tests.contract.threads import MANY, together
from tests.lib.workspace.place import ANNA, Place, put, write

BY: dict[str, Any] = {"author": ANNA, "by": "anna"}
ALL = IssueQuery()


@pytest.fixture
def issues(workspace: Workspace) -> Issues:
    clock = ManualClock()
    return Issues(workspace, clock=clock, ids=Ids(clock))


def listed(issues: Issues, query: IssueQuery = ALL) -> list[str]:
    return [row.issue.id for row in issues.list(query).rows]


def skipped(issues: Issues) -> dict[str, str]:
    return {each.path: each.reason for each in issues.list(ALL).skipped}


def test_each_kind_of_change_is_one_commit(
    place: Place, workspace: Workspace, issues: Issues
) -> None:
    made = issues.create(NewIssue(title="Totals: off", body="By one.", labels=("a",)), **BY)
    issues.update(made.id, IssueChange(status="closed"), **BY)
    issues.update(made.id, IssueChange(status="closed", title=made.title), **BY)
    issues.comment(made.id, "Why?", **BY)

    assert place.subjects()[:4] == [
        "issues: comment on ISSUE-0001",
        "issues: update ISSUE-0001",
        "issues: create ISSUE-0001 Totals: off",
        "workspace: seed",
    ]
    found = issues.get(made.id)
    assert (found.issue.status, found.issue.body) == ("closed", "By one.")
    assert [each.body for each in found.comments] == ["Why?"]
    assert found.issue.comment_count == 1
    stat = place.git("log", "--stat", "-3", "main")
    assert "ISSUE-0001.comments.ndjson" in stat
    assert place.in_git() == place.on_disk()
    place.fsck()


def test_a_long_title_is_cut_in_the_subject_only(place: Place, issues: Issues) -> None:
    title = "x" * 300
    assert issues.create(NewIssue(title=title), **BY).title == title
    assert len(place.subjects()[0]) == 72


def test_an_id_is_never_used_again(place: Place, workspace: Workspace, issues: Issues) -> None:
    for _ in range(3):
        issues.create(NewIssue(title="x"), **BY)
    workspace.commit(lambda _: [Delete(".floom/issues/ISSUE-0003.md")], "by hand", ANNA)

    assert issues.create(NewIssue(title="x"), **BY).id == "ISSUE-0004"
    assert listed(issues) == ["ISSUE-0001", "ISSUE-0002", "ISSUE-0004"]


def test_many_at_once_have_ids_of_their_own(place: Place, issues: Issues) -> None:
    made = together(lambda number: issues.create(NewIssue(title=f"n{number}"), **BY).id)

    assert sorted(map(str, made)) == [f"ISSUE-{number:04}" for number in range(1, MANY + 1)]
    assert listed(issues) == sorted(map(str, made))
    place.fsck()


def has_label(label: str) -> Callable[[Issue], bool]:
    return lambda issue: label in issue.labels and issue.status == "open"


def test_an_issue_like_it_stands_for_the_new_one(place: Place, issues: Issues) -> None:
    new = NewIssue(title="x", labels=("a",))
    other, was_made = issues.find_or_create(new, is_like=has_label("a"), **BY)
    tip = place.git("rev-parse", "main")

    again = issues.find_or_create(new, is_like=has_label("a"), **BY)
    assert (again, was_made) == ((other, False), True)
    assert place.git("rev-parse", "main") == tip

    issues.update(other.id, IssueChange(status="closed"), **BY)
    assert issues.find_or_create(new, is_like=has_label("a"), **BY)[1]


def test_what_was_made_since_the_look_counts_too(
    place: Place, workspace: Workspace, issues: Issues
) -> None:
    """The tree moves between the look and the commit: by issues, broken files and a far id."""
    for _ in range(3):
        issues.create(NewIssue(title="old", labels=("b",)), **BY)
    new = NewIssue(title="x", labels=("a",))

    def somebody(step: str) -> None:
        if step == "before commit":
            put(
                workspace,
                (".floom/issues/ISSUE-0004.md", b"no issue"),
                (".floom/issues/90/ISSUE-9000.md", FRONT_MATTER),
            )

    clock = ManualClock()
    late = Issues(Fuse(between=somebody).protect(workspace), clock=clock, ids=Ids(clock))
    found, was_made = late.find_or_create(new, is_like=has_label("a"), **BY)

    assert (found.id, found.title, was_made) == ("ISSUE-9000", "by hand", False)
    assert not place.subjects()[0].startswith("issues: create")


FRONT_MATTER = b"---\nid: ISSUE-9000\ntitle: by hand\nlabels: [a]\n---\n\n"


def test_of_many_at_once_one_makes_it(place: Place, workspace: Workspace) -> None:
    """Half of the callers have a workspace of their own, as another process has."""
    other, clock = place.open(), ManualClock()
    both = [Issues(each, clock=clock, ids=Ids(clock)) for each in (workspace, other)]
    new = NewIssue(title="x", labels=("a",))

    found = together(
        lambda number: both[number % 2].find_or_create(new, is_like=has_label("a"), **BY)
    )
    other.close()

    assert [each for each in found if isinstance(each, Exception)] == []
    assert sum(each[1] for each in found if isinstance(each, tuple)) == 1
    assert {each[0].id for each in found if isinstance(each, tuple)} == {"ISSUE-0001"}
    assert listed(both[0]) == ["ISSUE-0001"]
    place.fsck()


def test_the_hundredth_goes_into_a_folder(
    place: Place, workspace: Workspace, issues: Issues
) -> None:
    put(workspace, (".floom/issues/.next", b"99\n"))
    ids = [issues.create(NewIssue(title="x"), **BY).id for _ in range(3)]
    for each in ids:
        issues.comment(each, "hello", **BY)

    assert listed(issues) == ids == ["ISSUE-0099", "ISSUE-0100", "ISSUE-0101"]
    assert ".floom/issues/1/ISSUE-0101.comments.ndjson" in place.in_git()
    assert [row.issue.comment_count for row in issues.list(ALL).rows] == [1, 1, 1]


def test_an_issue_is_read_from_either_place(workspace: Workspace, issues: Issues) -> None:
    put(
        workspace,
        (".floom/issues/ISSUE-0150.md", b"---\ntitle: flat\n---\n\nx\n"),
        (".floom/issues/1/ISSUE-0151.md", b"---\ntitle: foldered\n---\n\nx\n"),
        (".floom/issues/2/ISSUE-0152.md", b"---\ntitle: misplaced\n---\n\nx\n"),
    )

    assert listed(issues) == ["ISSUE-0150", "ISSUE-0151"]
    assert [*skipped(issues)] == [".floom/issues/2/ISSUE-0152.md"]
    issues.update("ISSUE-0150", IssueChange(title="flat still"), **BY)
    assert issues.get("ISSUE-0150").issue.title == "flat still"
    put(workspace, (".floom/issues/1/ISSUE-0150.md", b"---\ntitle: again\n---\n\nx\n"))
    assert [row.issue.title for row in issues.list(ALL).rows] == ["again", "foldered"]
    assert ".floom/issues/ISSUE-0150.md" in skipped(issues)


def test_a_broken_file_hides_no_other(workspace: Workspace, issues: Issues) -> None:
    conflict = b"---\n<<<<<<< HEAD\ntitle: a\n=======\ntitle: b\n>>>>>>> x\n---\n"
    issues.create(NewIssue(title="good"), **BY)
    put(
        workspace,
        (".floom/issues/ISSUE-0002.md", conflict),
        (".floom/issues/ISSUE-0003.md", b"\xff\xfe"),
        (".floom/issues/README.md", b"ours"),
        (".floom/issues/ISSUE-4.md", b"---\ntitle: x\n---\n"),
    )

    assert listed(issues) == ["ISSUE-0001"]
    assert [*skipped(issues)] == [
        ".floom/issues/ISSUE-0002.md",
        ".floom/issues/ISSUE-0003.md",
        ".floom/issues/ISSUE-4.md",
    ]
    assert "4 to 9 digits" in skipped(issues)[".floom/issues/ISSUE-4.md"]
    for call in (
        lambda: issues.get("ISSUE-0002"),
        lambda: issues.update("ISSUE-0002", IssueChange(title="x"), **BY),
    ):
        with pytest.raises(IssueBroken, match=r"ISSUE-0002\.md .*cannot be read"):
            call()
    assert issues.create(NewIssue(title="next"), **BY).id == "ISSUE-0004"


@pytest.mark.parametrize("name", ["ISSUE-999999999999999999.md", "ISSUE-1000000000.md"])
def test_a_number_beyond_the_last_takes_no_id_away(
    workspace: Workspace, issues: Issues, name: str
) -> None:
    put(workspace, (f".floom/issues/{name}", b"---\ntitle: far\n---\n\nx\n"))
    made = [issues.create(NewIssue(title=title), **BY).id for title in ("one", "two")]
    assert made == ["ISSUE-0001", "ISSUE-0002"]
    assert [row.issue.title for row in issues.list(ALL).rows] == ["one", "two"]
    assert [*skipped(issues)] == [f".floom/issues/{name}"]


def test_after_the_last_number_nothing_is_made_and_nothing_lost(
    workspace: Workspace, issues: Issues
) -> None:
    last = ".floom/issues/9999999/ISSUE-999999999.md"
    put(workspace, (last, b"---\ntitle: last\n---\n\nx\n"))
    for _ in range(2):
        with pytest.raises(NoNumberLeft):
            issues.create(NewIssue(title="one more"), **BY)
    assert listed(issues) == ["ISSUE-999999999"]
    workspace.commit(lambda _: [Delete(last)], "x", ANNA)
    assert issues.create(NewIssue(title="again"), **BY).id == "ISSUE-0001"


def test_what_is_not_there_is_not_found(issues: Issues) -> None:
    for call in (
        lambda: issues.get("ISSUE-0001"),
        lambda: issues.get("ISSUE-00001"),
        lambda: issues.update("ISSUE-0001", IssueChange(title="x"), **BY),
        lambda: issues.comment("ISSUE-0001", "x", **BY),
    ):
        with pytest.raises(IssueNotFound):
            call()


def test_filters_hold_together(issues: Issues) -> None:
    worker = Asset("worker", "csv")
    issues.create(NewIssue(title="One", labels=("a", "b"), asset=worker), **BY)
    issues.create(NewIssue(title="Two", body="Größe", labels=("a",)), **BY)
    issues.create(NewIssue(title="Three", labels=("b",), asset=worker), **BY)
    issues.update("ISSUE-0003", IssueChange(status="closed"), **BY)

    for query, expected in (
        (IssueQuery(label="a"), [1, 2]),
        (IssueQuery(label="a", asset_type="worker"), [1]),
        (IssueQuery(asset_id="csv", status="closed"), [3]),
        (IssueQuery(text="GRÖSSE"), []),
        (IssueQuery(text="GRÖßE"), [2]),
        (IssueQuery(text="issue-0003"), [3]),
        (IssueQuery(after=1), [2, 3]),
        (IssueQuery(limit=2), [1, 2]),
        (IssueQuery(after=1, limit=1), [2]),
    ):
        assert listed(issues, query) == [f"ISSUE-{number:04}" for number in expected]
    assert issues.list(IssueQuery(limit=2)).next_after == 2
    assert issues.list(IssueQuery(limit=3)).next_after is None


def test_an_asset_is_set_and_cleared(issues: Issues) -> None:
    issues.create(NewIssue(title="x"), **BY)
    changed = issues.update("ISSUE-0001", IssueChange(asset=Asset("run", "run_1")), **BY)
    assert (changed.asset_type, changed.asset_id) == ("run", "run_1")
    changed = issues.update("ISSUE-0001", IssueChange(clear_asset=True, labels=()), **BY)
    assert (changed.asset_type, changed.asset_id) == (None, None)


def test_a_full_file_takes_no_comment(workspace: Workspace, issues: Issues) -> None:
    issues.create(NewIssue(title="x"), **BY)
    put(workspace, (".floom/issues/ISSUE-0001.comments.ndjson", b"x" * MAX_FILE_BYTES))
    with pytest.raises(IssueFull):
        issues.comment("ISSUE-0001", "x", **BY)


def test_an_edit_on_disk_is_listed_after_a_reload(
    place: Place, workspace: Workspace, issues: Issues
) -> None:
    issues.create(NewIssue(title="x"), **BY)
    path = place.root / ".floom/issues/ISSUE-0001.md"
    write(path, path.read_bytes().replace(b"title: x", b"title: edited\npriority: 1"))
    assert issues.get("ISSUE-0001").issue.title == "x"
    workspace.reload(ANNA)
    assert issues.get("ISSUE-0001").issue.title == "edited"
    issues.update("ISSUE-0001", IssueChange(status="closed"), **BY)
    assert b"priority: 1\n" in path.read_bytes()


def test_what_a_commit_made_can_be_told_again(workspace: Workspace, issues: Issues) -> None:
    made = issues.create(NewIssue(title="x"), **BY)
    created_in = workspace.tip()
    said = issues.comment(made.id, "first", **BY)
    commented_in = workspace.tip()
    issues.comment(made.id, "second", **BY)
    issues.update(made.id, IssueChange(title="other"), **BY)
    updated_in = workspace.tip()
    assert created_in is not None
    assert commented_in is not None
    assert updated_in is not None

    assert issues.created_in(created_in) == made
    assert issues.commented_in(commented_in) == said
    with pytest.raises(ObjectNotFound):
        issues.created_in(updated_in)


def test_only_what_changed_is_parsed_again(workspace: Workspace, issues: Issues) -> None:
    put(workspace, (".floom/issues/.next", b"150\n"))
    for _ in range(3):
        issues.create(NewIssue(title="x"), **BY)
    before = {row.number: row for row in issues.list(ALL).rows}
    issues.comment("ISSUE-0151", "hello", **BY)
    after = {row.number: row for row in issues.list(ALL).rows}

    assert after[150] is before[150]
    assert after[152] is before[152]
    assert after[151].issue == replace(before[151].issue, comment_count=1)


LABELS = st.lists(st.sampled_from(["a", "b", "c d"]), max_size=2, unique=True).map(tuple)
TITLES = st.sampled_from(["x", "a: b", "#1", "true", '"q"', "ß " * 9])
NUMBERS = st.integers(1, 8)


class Machine(RuleBasedStateMachine):
    """Any sequence of operations, beside a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(mkdtemp())
        self.place = Place(self.base)
        self.place.make_seed()
        self.clock = ManualClock()
        self.workspace = self.place.open(clock=self.clock)
        self.issues = Issues(self.workspace, clock=self.clock, ids=Ids(self.clock))
        self.model: dict[int, dict[str, Any]] = {}
        self.next = 1

    def teardown(self) -> None:
        self.place.fsck()
        assert self.place.in_git() == self.place.on_disk()
        self.workspace.close()
        shutil.rmtree(self.base)

    @rule(title=TITLES, labels=LABELS, body=st.text(max_size=9))
    def create(self, title: str, labels: tuple[str, ...], body: str) -> None:
        made = self.issues.create(NewIssue(title=title, labels=labels, body=body), **BY)
        assert made.id == f"ISSUE-{self.next:04}"
        self.model[self.next] = {
            "title": title, "labels": labels, "body": body, "status": "open", "comments": [],
        }  # fmt: skip
        self.next += 1

    @rule(number=NUMBERS, title=TITLES, status=st.sampled_from(["open", "closed"]))
    def update(self, number: int, title: str, status: Any) -> None:
        change = IssueChange(title=title, status=status)
        if number not in self.model:
            with pytest.raises(IssueNotFound):
                self.issues.update(f"ISSUE-{number:04}", change, **BY)
            return
        self.issues.update(f"ISSUE-{number:04}", change, **BY)
        self.model[number].update(title=title, status=status)

    @rule(number=NUMBERS, body=st.text(min_size=1, max_size=9))
    def comment(self, number: int, body: str) -> None:
        if number not in self.model:
            with pytest.raises(IssueNotFound):
                self.issues.comment(f"ISSUE-{number:04}", body, **BY)
            return
        self.issues.comment(f"ISSUE-{number:04}", body, **BY)
        self.model[number]["comments"].append(body)

    @rule(number=NUMBERS)
    def delete_by_hand(self, number: int) -> None:
        stem = f".floom/issues/ISSUE-{number:04}"
        edits = [Delete(f"{stem}.md"), Delete(f"{stem}.comments.ndjson")]
        self.workspace.commit(lambda _: edits, "by hand", ANNA)
        self.model.pop(number, None)

    @rule(number=NUMBERS, title=TITLES)
    def edit_on_disk(self, number: int, title: str) -> None:
        if number not in self.model:
            return
        path = self.place.root / f".floom/issues/ISSUE-{number:04}.md"
        write(path, f"---\ntitle: {json.dumps(title)}\n---\n\nby hand\n".encode())
        self.workspace.reload(ANNA)
        self.model[number].update(title=title, body="by hand", status="open", labels=())

    @rule()
    def open_again(self) -> None:
        self.workspace.close()
        self.workspace = self.place.open(clock=self.clock)
        self.issues = Issues(self.workspace, clock=self.clock, ids=Ids(self.clock))

    @invariant()
    def the_list_is_the_model(self) -> None:
        found = {row.number: row.issue for row in self.issues.list(ALL).rows}
        assert [*found] == sorted(self.model)
        for number, issue in found.items():
            wanted = self.model[number]
            assert (issue.title, issue.labels, issue.body, issue.status, issue.comment_count) == (
                wanted["title"], wanted["labels"], wanted["body"], wanted["status"],
                len(wanted["comments"]),
            )  # fmt: skip
            comments = self.issues.get(issue.id).comments
            assert [each.body for each in comments] == wanted["comments"]


def test_any_sequence_of_operations_equals_the_model() -> None:
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=15, stateful_step_count=12, deadline=None)
    )


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_many_sequences_of_operations_equal_the_model() -> None:
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=300, stateful_step_count=40, deadline=None)
    )
