"""Draft a message, and after somebody approved it write exactly that as a mail.

Both phases start here: the first run proposes, the run that an approval starts
executes. Only the engine says which one this is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

MESSAGE = Path("out/message.eml")
MAX_LABEL_CHARACTERS = 200  # of `decision_required.label`
SHOWN_REASON_CHARACTERS = 200
# RFC 5322's dot-atom: one address, without a name, comments or quotes.
ADDRESS = re.compile(
    r"[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*@[\w-]+(\.[\w-]+)+", re.ASCII
)
PARTS = {"to": "the recipient", "subject": "the subject", "body": "the text"}

BODIES = {
    "friendly": (
        "Hi,\n\nI hope you are doing well. I am writing about {topic} and would love to hear what "
        "you think. Tell me if I can help with anything.\n\nBest wishes\n"
    ),
    "formal": (
        "Dear Sir or Madam,\n\nI am writing to you with regard to {topic}. I would be grateful for "
        "your reply at your earliest convenience.\n\nYours faithfully\n"
    ),
    "brief": "Hello,\n\na short note about {topic}. Does it suit you?\n\nThank you\n",
}
# What reviewers write, and the tone that answers it; the first that is found counts.
WISHES = (
    (re.compile(r"\b(short|shorter|brief|briefer|concise|too long)\b", re.IGNORECASE), "brief"),
    (re.compile(r"\b(formal|polite|politer|professional)\b", re.IGNORECASE), "formal"),
    (re.compile(r"\b(friendly|friendlier|warm|warmer|kinder)\b", re.IGNORECASE), "friendly"),
)


class BadMessage(Exception):
    """This cannot be written as a mail; the words say why."""


def main() -> None:
    """Do the phase's work and write its outcome to `result.json`."""
    inputs = json.loads(Path("inputs.json").read_bytes())
    try:
        result = execute(inputs.get("approved_output")) if is_approved(inputs) else propose(inputs)
    except BadMessage as problem:
        print(f"Nothing was done: {problem}")
        error = {"message": str(problem), "detail": "Start a new run."}
        result = {"status": "error", "error": error, "error_code": "bad_message"}
    Path("result.json").write_text(json.dumps(result), encoding="ascii")


def is_approved(inputs: Mapping[str, Any]) -> bool:
    """Return whether to act. Both signs must be there: in doubt it only drafts."""
    return os.environ.get("FLOOM_PHASE") == "execute" and inputs.get("decision") == "approved"


def propose(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Draft; touch nothing outside the result.

    Raises:
        BadMessage: what is asked for could not be executed.
    """
    tone, note = choose_tone(inputs)
    payload = checked(draft(inputs["recipient"], inputs["topic"], tone))
    print(f"Drafted a {tone} message; it waits for approval")
    outputs = payload if note is None else {**payload, "note": note}
    return {
        "status": "success",
        "outputs": outputs,
        "decision_required": {
            "label": f"Send this message to {payload['to']}?"[:MAX_LABEL_CHARACTERS],
            "preview": preview(payload, note),
            "preview_type": "email",
            "preview_payload": payload,
        },
    }


def choose_tone(inputs: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the tone, and after a rejection how its reason was taken into account."""
    tone = inputs.get("tone") or "friendly"
    feedback = inputs.get("review_feedback")
    if not feedback:
        return tone, None
    reason = one_line(str(feedback.get("reason") or ""))
    wished = next((answer for words, answer in WISHES if words.search(reason)), None)
    chosen = wished or following(tone)
    shown = f"the reason {reason[:SHOWN_REASON_CHARACTERS]!r}" if reason else "no reason given"
    return chosen, f"Drafted again after a rejection, {shown} taken into account: now {chosen}."


def following(tone: str) -> str:
    tones = list(BODIES)
    return tones[(tones.index(tone) + 1) % len(tones)]


def draft(recipient: str, topic: str, tone: str) -> dict[str, str]:
    """Return what will be executed, the same for the same wishes."""
    about = one_line(topic)
    return {
        "to": recipient,
        "subject": about[:1].upper() + about[1:],
        "body": BODIES[tone].replace("{topic}", about),
    }


def preview(payload: Mapping[str, str], note: str | None) -> str:
    """Return what reviewers read; the note is theirs and not in the payload."""
    text = f"To: {payload['to']}\nSubject: {payload['subject']}\n\n{payload['body']}"
    return text if note is None else f"{text}\n[{note}]\n"


def execute(approved: Any) -> dict[str, Any]:
    """Write exactly what was approved; never draft again.

    Raises:
        BadMessage: what was approved cannot be written; nothing is.
    """
    payload = checked(approved)
    MESSAGE.write_bytes(mail(payload).as_bytes(policy=SMTP))
    print(f"Wrote the approved message to {MESSAGE}")
    return {"status": "success", "outputs": {**payload, "message": str(MESSAGE)}}


def checked(approved: Any) -> dict[str, str]:
    """Return the parts of a message that people may have edited.

    Raises:
        BadMessage: a part is missing, or could become another header.
    """
    if not isinstance(approved, dict):
        raise BadMessage("This is not a message.")
    for name, words in PARTS.items():
        if not isinstance(approved.get(name), str) or not approved[name].strip():
            raise BadMessage(f"The message lacks {words} (`{name}`).")
    if not ADDRESS.fullmatch(approved["to"]):
        raise BadMessage("The recipient (`to`) is not one plain e-mail address.")
    if len(approved["subject"].splitlines()) > 1:
        raise BadMessage("The subject (`subject`) has more than one line.")
    return {name: storable(approved[name]) for name in PARTS}


def mail(payload: Mapping[str, str]) -> EmailMessage:
    """Return the mail; each attempt of one decision makes the same one."""
    message = EmailMessage(policy=SMTP)
    message["To"] = payload["to"]
    message["Subject"] = payload["subject"].strip()
    message["Message-ID"] = f"<{os.environ['FLOOM_IDEMPOTENCY_KEY']}@floom.invalid>"
    message["X-Unsent"] = "1"  # mail programs open it as a draft
    message.set_content(payload["body"])
    return message


def one_line(text: str) -> str:
    return storable(" ".join(text.split()))


def storable(text: str) -> str:
    """Return the text as UTF-8 can hold it: JSON may have half characters."""
    return text.encode("utf-8", "replace").decode("utf-8")


if __name__ == "__main__":
    main()
