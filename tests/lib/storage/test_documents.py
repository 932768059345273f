"""Codecs: every record comes back as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from handlers.run_views import run_summary
from lib.clock import from_milliseconds
from lib.manifest.policies import Approvals, Concurrency, Limits, Retry
from lib.storage.documents import (
    ANSWERS,
    EVENTS,
    WORKER_SETTINGS,
    decode_run,
    decode_summary,
    encode_detail,
    encode_summary,
    milliseconds,
)
from lib.storage.records import (
    Phase,
    RunError,
    RunEvent,
    RunPolicy,
    RunRecord,
    RunStatus,
    SandboxReport,
    StoredAnswer,
    Trigger,
    Wait,
    WorkerSettings,
)
from lib.storage.stored import Stored
from tests.contract.samples import Samples

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
TIMES = st.integers(1, 7_000_000_000_000).map(from_milliseconds)
MAYBE_TIME = st.none() | TIMES
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
STORED = st.builds(
    lambda text, key_id: Stored(len(text.encode()), text=text, key_id=key_id),
    TEXT,
    st.none() | TEXT,
) | st.just(Stored(99_999, sha256="a" * 64))
RUNS = st.builds(
    RunRecord,
    id=TEXT,
    worker_id=TEXT,
    worker_sha=TEXT,
    commit=TEXT,
    status=st.sampled_from(RunStatus),
    phase=st.none() | st.sampled_from(Phase),
    trigger=st.builds(Trigger, st.just("webhook"), st.none() | TEXT, st.none() | TEXT),
    priority=st.integers(0, 9),
    error=st.none() | st.builds(RunError, TEXT, TEXT, st.none() | TEXT),
    attempt=st.integers(1, 10),
    created_at=TIMES,
    queued_at=TIMES,
    started_at=MAYBE_TIME,
    finished_at=MAYBE_TIME,
    duration_ms=st.none() | st.integers(0, 2**40),
    sandbox=st.none() | st.builds(SandboxReport, TEXT),
    cost_usd=st.none() | st.floats(0, 1e6),
    tokens=st.none() | st.integers(0, 2**40),
    inputs=STORED,
    outputs=st.none() | STORED,
    effect_key=TEXT,
    manifest_digest=TEXT,
    policy=st.just(
        RunPolicy(Limits(), Retry(max_attempts=3), Concurrency(max=2), Approvals(required=True))
    ),
    waits=st.none() | st.sampled_from(Wait),
    not_before=MAYBE_TIME,
    lease_owner=st.none() | TEXT,
    lease_until=MAYBE_TIME,
    fence=st.integers(0, 2**40),
    attempt_started_at=MAYBE_TIME,
    cancel_requested_at=MAYBE_TIME,
    event_count=st.integers(0, 2**40),
)


@settings(max_examples=60, deadline=None)
@given(run=RUNS)
def test_a_run_comes_back_as_it_was(run: RunRecord) -> None:
    waits = run.waits and run.waits.value

    again = decode_run(
        encode_summary(run), encode_detail(run), waits, milliseconds(run.lease_until)
    )

    assert again == run
    assert type(again) is RunRecord


def test_what_lies_beside_the_documents_is_not_in_them() -> None:
    run = replace(Samples().run(), waits=Wait.CAP, lease_until=Samples().now)

    assert decode_run(encode_summary(run), encode_detail(run), None, None).waits is None
    assert decode_run(encode_summary(run), encode_detail(run), None, None).lease_until is None


def test_the_same_summary_is_decoded_once() -> None:
    text = encode_summary(Samples().run())

    assert decode_summary(text) is decode_summary(str(text.encode(), "utf-8"))


def test_values_of_older_records_are_plain() -> None:
    """What was kept before values could be sealed has no key."""
    older = encode_detail(Samples().run()).replace(',"key_id":null', "")
    assert "key_id" not in older
    run = decode_run(encode_summary(Samples().run()), older, None, None)
    assert run.inputs.key_id is None


def test_a_damaged_document_is_an_error() -> None:
    run = Samples().run()
    damaged = encode_summary(run).replace('"queued"', '"eaten"')

    with pytest.raises(ValidationError):
        decode_run(damaged, encode_detail(run), None, None)


@settings(max_examples=60, deadline=None)
@given(data=st.dictionaries(TEXT, JSON, max_size=3))
def test_free_json_comes_back_as_it_was(data: dict[str, Any]) -> None:
    event = RunEvent(1, Samples().now, "tool_call", data)

    assert EVENTS.decode(EVENTS.encode(event)) == event
    worker_settings = WorkerSettings(False, data)
    assert WORKER_SETTINGS.decode(WORKER_SETTINGS.encode(worker_settings)) == worker_settings


def test_an_answer_keeps_its_headers() -> None:
    answer = StoredAnswer(202, Stored(2, text="{}"), (("location", "/runs/x"), ("a", "b")), "run_x")

    assert ANSWERS.decode(ANSWERS.encode(answer)) == answer


@given(run=RUNS)
@settings(max_examples=50)
def test_a_summary_is_stored_as_the_api_shows_it(run: RunRecord) -> None:
    assert encode_summary(run) == run_summary(run).model_dump_json()
