"""Edits of a proposal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import Invalid
from lib.manifest.loader import load_manifest
from lib.manifest.models import Manifest
from lib.runs.approvals.edits import MAX_PROBLEMS, apply_edit, name_in
from lib.secrets.mask import NO_MASK, Mask

YAML = b"""schema_version: "0.3"
name: demo
title: Demo
description: A worker of a test.
version: 1.0.0
exec:
  outputs:
    - {name: text, type: text, required: true, bounds: {max_length: 20}}
    - {name: count, type: integer, bounds: {minimum: 1}}
    - {name: kind, type: select, enum: [a, b]}
    - {name: report, kind: file, path: out/report.txt}
approvals: {required: true}
"""
FILE = {"name": "report.txt", "path": "out/report.txt", "sha256": "0" * 64}
PROPOSAL = {"text": "Dear Ada", "count": 3, "report": FILE, "extra": {"a": [1]}}
SECRET = "hunter2-hunter2"


def manifest_of() -> Manifest:
    loaded = load_manifest(YAML, worker_id="demo", file_names=["worker.yml", "run.py"])
    assert loaded.manifest is not None
    return loaded.manifest


MANIFEST = manifest_of()


def edit(edited: dict[str, Any], proposal: dict[str, Any] = PROPOSAL, mask: Mask = NO_MASK):
    return apply_edit(MANIFEST, proposal, edited, mask)


def refusals(edited: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(Invalid) as refused:
        edit(edited)
    return {error.pointer: error.detail for error in refused.value.errors}


def test_an_edit_replaces_the_proposal_whole():
    assert edit({"text": "Hi"}) == {"text": "Hi"}


def test_values_become_what_their_output_is():
    assert edit({"text": "Hi", "count": "7"}) == {"text": "Hi", "count": 7}


def test_everything_that_is_wrong_is_said_at_once():
    found = refusals(
        {"count": 0, "kind": "c", "report": {**FILE, "path": "/etc/passwd"}, "decision": "x"}
    )
    assert found == {
        "/edited_output/text": "is required, but left out",
        "/edited_output/count": "must be at least 1; it is 0",
        "/edited_output/kind": 'must be one of "a", "b"; it is "c"',
        "/edited_output/report": "is a file, which an edit cannot change",
        "/edited_output/decision": "is neither an output of this worker nor in its proposal",
    }


@pytest.mark.parametrize("value", ["", None, 7, ["x"], "x" * 21])
def test_a_required_text_is_a_text_that_fits(value):
    assert list(refusals({"text": value})) == ["/edited_output/text"]


def test_what_only_the_proposal_knows_may_be_edited():
    assert edit({"text": "Hi", "extra": {"a": [2]}})["extra"] == {"a": [2]}


def test_a_file_that_is_left_as_it_is_stays():
    assert edit({"text": "Hi", "report": FILE})["report"] == FILE


def test_a_hidden_value_that_was_left_alone_stays_what_it_is():
    proposal = {"text": f"key {SECRET}", "extra": {SECRET: [SECRET, "b"]}}
    mask = Mask([SECRET])
    shown = mask.json(proposal)
    assert SECRET not in repr(shown)

    assert edit(shown, proposal, mask) == proposal
    changed = {**shown, "extra": {"***": ["***", "c"]}}
    assert edit(changed, proposal, mask)["extra"] == {SECRET: [SECRET, "c"]}


def test_pointers_are_escaped_and_lead_back():
    found = refusals({"text": "Hi", "a/b~1": 1, "": 2})
    assert list(found) == ["/edited_output/a~1b~01", "/edited_output/"]
    assert [name_in(pointer) for pointer in found] == ["a/b~1", ""]
    assert name_in("/reason") is None


def test_a_hostile_edit_does_not_become_a_larger_answer():
    with pytest.raises(Invalid) as refused:
        edit({"text": "Hi", "x" * 100_000: 1, **{f"no {number}": 1 for number in range(1_000)}})
    assert len(refused.value.errors) == MAX_PROBLEMS
    assert len(refused.value.detail) < 300


@pytest.mark.parametrize("secret", [SECRET, 'hunter2\n"hunter2"', "h" * 300])
def test_a_refusal_does_not_tell_the_secret_that_was_left_alone(secret):
    """Nor a piece of it: a worker may propose what its outputs do not take."""
    mask = Mask([secret])
    proposal = {"text": "Hi", "count": secret, "kind": f"a {secret}"}
    with pytest.raises(Invalid) as refused:
        edit({"text": "Ho", "count": "***", "kind": "a ***"}, proposal, mask)
    assert len(refused.value.errors) == 2
    told = repr((refused.value.detail, refused.value.errors, refused.value.__context__))
    assert secret[:7] not in told


@pytest.mark.parametrize(
    "edited",
    [
        {"text": "Bearer ***."},
        {"text": "***"},
        {"text": "Hi", "extra": ["***"]},
        {"text": "Hi", "extra": {"***": 1}},
    ],
)
def test_the_stars_of_a_secret_are_never_executed(edited):
    """They would be sent in its place, and nobody could see it."""
    proposal = {"text": f"Bearer {SECRET}", "extra": ["Ada"]}
    with pytest.raises(Invalid, match="stands for a secret"):
        edit(edited, proposal, Mask([SECRET]))


def test_stars_that_stand_for_nothing_are_text():
    assert edit({"text": "***"}, {"text": "Hi"}, Mask([SECRET])) == {"text": "***"}
    proposal = {"text": f"{SECRET}", "extra": "a *** b"}
    mask = Mask([SECRET])
    assert edit({"text": "***", "extra": "a *** c"}, proposal, mask)["extra"] == "a *** c"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.just(f"a{SECRET}"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.just(SECRET), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(extra=JSON)
def test_what_was_shown_and_sent_back_is_no_edit(extra):
    proposal = {"text": "Hi", "extra": extra}
    mask = Mask([SECRET])
    assert edit(mask.json(proposal), proposal, mask) == proposal
