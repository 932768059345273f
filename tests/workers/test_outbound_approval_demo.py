"""outbound-approval-demo: it drafts, and acts on exactly what was approved."""

from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest

WORKER = "outbound-approval-demo"
INPUTS = {"recipient": "ada@example.org", "topic": "our meeting on Tuesday", "tone": "friendly"}
PAYLOAD = {"to": "ada@example.org", "subject": "Our meeting", "body": "Dear Ada,\n\nyes.\n"}
TONES = ("friendly", "formal", "brief")


@pytest.fixture
def run(launcher):
    """Return a function that runs a phase in a folder of its own."""
    count = iter(range(100))

    def start(phase: str, **inputs: Any):
        launch = launcher(WORKER)
        launch.folder = launch.folder.parent / f"work{next(count)}"
        environment = launch.environment
        launch.environment = lambda: {**environment(), "FLOOM_PHASE": phase}
        return launch({**INPUTS, **inputs})

    return start


def proposed(run, **inputs):
    done = run("propose", decision="proposed", **inputs)
    assert done.exit_code == 0, done.stderr
    return done


def executed(run, approved, **inputs):
    return run("execute", decision="approved", approved_output=approved, **inputs)


def written(done) -> EmailMessage:
    data = (done.folder / "out/message.eml").read_bytes()
    message = message_from_bytes(data, policy=default)
    assert isinstance(message, EmailMessage)
    return message


def text_of(message: EmailMessage) -> str:
    content: str = message.get_content()
    return content.replace("\r\n", "\n")


@pytest.mark.parametrize("tone", TONES)
def test_a_draft_waits_and_writes_nothing(run, tone):
    done = proposed(run, tone=tone)

    decision = done.result["decision_required"]
    payload = decision["preview_payload"]
    assert done.outputs == payload
    assert payload["to"] == "ada@example.org"
    assert payload["subject"] == "Our meeting on Tuesday"
    assert "our meeting on Tuesday" in payload["body"]
    assert decision["preview_type"] == "email"
    assert decision["preview"] == (
        f"To: ada@example.org\nSubject: Our meeting on Tuesday\n\n{payload['body']}"
    )
    assert decision["label"] == "Send this message to ada@example.org?"
    assert list((done.folder / "out").iterdir()) == []


def test_a_draft_is_the_same_each_time_and_another_in_each_tone(run):
    drafts = [proposed(run, tone=tone).result for tone in (*TONES, *TONES)]
    assert drafts[:3] == drafts[3:]
    assert len({draft["outputs"]["body"] for draft in drafts}) == 3


def test_a_long_address_leaves_the_label_short_enough(run):
    recipient = f"{'a' * 64}@{'b' * 180}.example"
    assert len(proposed(run, recipient=recipient).result["decision_required"]["label"]) == 200


def test_a_topic_is_only_text(run):
    payload = proposed(run, topic="lines\r\nBcc: eve@example.org\n{topic} \\ud800 %s").outputs
    assert payload["subject"] == "Lines Bcc: eve@example.org {topic} \\ud800 %s"
    assert payload["subject"][1:] in payload["body"]


def test_what_was_proposed_is_executed(run):
    payload = proposed(run).result["decision_required"]["preview_payload"]

    done = executed(run, payload)

    assert done.outputs == {**payload, "message": "out/message.eml"}
    message = written(done)
    assert (message["To"], message["Subject"]) == (payload["to"], payload["subject"])
    assert message["Message-ID"] == "<run_01test@floom.invalid>"
    assert text_of(message) == payload["body"]


@pytest.mark.parametrize(
    "edit",
    [
        {"body": "Something else.\n"},
        {"subject": "Größe 世界 " + "long " * 40 + "end"},
        {"body": "é 😀 \N{KEY}\n.\nFrom me\n" + "x" * 2_000 + "\n"},
        {"to": "eve@example.org"},
    ],
)
def test_an_edit_is_executed_as_it_is_and_the_inputs_play_no_part(run, edit):
    payload = {**PAYLOAD, **edit}

    done = executed(run, {**payload, "more": 1}, topic="another topic", tone="formal")

    assert done.outputs == {**payload, "message": "out/message.eml"}
    message = written(done)
    assert (message["To"], message["Subject"]) == (payload["to"], payload["subject"])
    assert text_of(message) == payload["body"]


def test_two_attempts_write_the_same_mail(run):
    one, two = (executed(run, PAYLOAD).folder / "out/message.eml" for _ in range(2))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    "approved",
    [
        None,
        "text",
        [],
        {},
        {"to": "ada@example.org", "subject": "s"},
        {**PAYLOAD, "body": None},
        {**PAYLOAD, "subject": " "},
        {**PAYLOAD, "subject": "s\r\nBcc: eve@example.org"},
        {**PAYLOAD, "subject": "s\u2028Bcc: eve@example.org"},
        {**PAYLOAD, "to": "ada@example.org, eve@example.org"},
        {**PAYLOAD, "to": "ada@example.org\nBcc: eve@example.org"},
        {**PAYLOAD, "to": "Ada <ada@example.org>"},
        {**PAYLOAD, "to": "ada"},
        {**PAYLOAD, "to": "ada\x00@example.org"},
        {**PAYLOAD, "to": "ada@ex\u00e4mple.org"},
    ],
)
def test_what_is_no_message_is_refused_and_nothing_is_written(run, approved):
    done = executed(run, approved)

    assert done.error["code"] == "bad_message"
    assert list((done.folder / "out").iterdir()) == []


def test_what_could_not_be_executed_is_not_proposed(run):
    done = run("propose", decision="proposed", recipient="ada@ex\u00e4mple.org")
    assert done.error["code"] == "bad_message"


@pytest.mark.parametrize(
    ("phase", "decision"),
    [("propose", "approved"), ("execute", "proposed"), ("", "approved"), ("execute", None)],
)
def test_in_doubt_it_only_drafts(run, phase, decision):
    done = run(phase, decision=decision, approved_output=PAYLOAD)

    assert "decision_required" in done.result
    assert list((done.folder / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("reason", "tone"),
    [
        ("Please make it SHORTER", "brief"),
        ("too long", "brief"),
        ("be more formal, please", "formal"),
        ("a bit friendlier", "friendly"),
        ("informally speaking: no", "formal"),  # no wish that it knows: the next tone
        ("", "formal"),
        (None, "formal"),
    ],
)
def test_after_a_rejection_the_reason_is_taken_into_account(run, reason, tone):
    first = proposed(run, tone=tone).outputs
    again = proposed(run, review_feedback={"decision": "rejected", "reason": reason})

    decision = again.result["decision_required"]
    assert decision["preview_payload"] == first
    note = again.outputs["note"]
    assert note.endswith(f"taken into account: now {tone}.")
    assert (repr(reason) if reason else "no reason given") in note
    assert f"[{note}]" in decision["preview"]


def test_a_reason_is_for_reviewers_and_never_in_the_mail(run):
    reason = "do not\nmention Eve " + "x" * 5_000
    again = proposed(run, review_feedback={"decision": "rejected", "reason": reason})

    assert "Eve" in again.outputs["note"]
    assert len(again.outputs["note"]) < 400
    assert "Eve" not in str(again.result["decision_required"]["preview_payload"])
