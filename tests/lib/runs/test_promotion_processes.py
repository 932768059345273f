"""Feedback promoted by several processes at once, and by some that are killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.workspace.issues import IssueQuery
from tests.contract.samples import Samples
from tests.lib.runs.promoter import Site, open_site
from tests.lib.workspace.place import Place

ENGINE = Path(__file__).resolve().parents[3]
MODULE = "tests.lib.runs.promoter"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    Place(tmp_path).make_seed()
    with open_site(tmp_path) as site:
        yield site


def runs(site: Site, count: int) -> list[str]:
    """Make runs, of which feedback can be."""
    samples = Samples()
    changes = [samples.new() for _ in range(count)]
    for change in changes:
        site.runs.create(change)
    return [change.run.id for change in changes]


def issues_of(site: Site) -> Counter[str | None]:
    """Count the issues of each run, in the tree and in history, which must agree."""
    rows = site.issues.list(IssueQuery()).rows
    subjects = Place(site.base).git("log", "--format=%s", "main").splitlines()
    assert sum(each.startswith("issues: create") for each in subjects) == len(rows)
    return Counter(row.issue.asset_id for row in rows)


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", MODULE, *arguments],
        cwd=ENGINE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def promote_at_once(site: Site, run_id: str, *, processes: int, threads: int) -> None:
    before = issues_of(site)
    started = [start("race", str(site.base), run_id, str(threads)) for _ in range(processes)]
    for each in started:
        assert each.stdout
        assert each.stdout.readline() == "ready\n"
    for each in started:
        assert each.stdin
        each.stdin.write("go\n")
        each.stdin.flush()
    answers = [json.loads(each.communicate(timeout=100)[0]) for each in started]

    assert [each["errors"] for each in answers] == [[]] * processes
    assert sum(each["created"] for each in answers) == 1
    linked = site.feedback.find(run_id, "x")
    assert linked is not None
    assert {each for answer in answers for each in answer["ids"]} == {linked.issue_id}
    assert issues_of(site) == before + Counter({run_id: 1})
    assert site.feedback.count(run_id) == 1


def test_four_processes_with_two_hundred_callers_make_one_issue(site: Site) -> None:
    promote_at_once(site, runs(site, 1)[0], processes=4, threads=50)
    Place(site.base).fsck()


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_eight_processes_make_one_issue_each_time(site: Site) -> None:
    for run_id in runs(site, 40):
        promote_at_once(site, run_id, processes=8, threads=25)
    Place(site.base).fsck()


def test_a_process_killed_at_any_step_leaves_one_issue_to_the_next(site: Site) -> None:
    run_ids = runs(site, 60)
    done = subprocess.run(
        [sys.executable, "-m", MODULE, "die", str(site.base), *run_ids],
        cwd=ENGINE, capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    steps = done.stdout.splitlines()
    made_before = issues_of(site)

    answers = {run_id: site.promote(run_id) for run_id in run_ids}

    assert steps[-1] == "alive"
    assert {"before add", "after add", "before commit", "after commit"} <= {*steps}
    assert steps.count("before change") == steps.count("after change") == 2  # begin, link
    first_commit = steps.index("after commit")
    assert made_before == dict.fromkeys(run_ids[first_commit : len(steps)], 1)
    for run_id, answer in answers.items():
        assert answer.created is (run_id not in made_before)
        assert answer.issue is not None
        assert answer.issue.asset_id == run_id
    assert issues_of(site) == dict.fromkeys(run_ids, 1)
    Place(site.base).fsck()
