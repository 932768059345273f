"""The scan for live credentials. Samples are put together here, so that no file holds one."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.workspace.secret_scan import (
    MAX_FINDINGS,
    MAX_SCANNED_BYTES,
    MAX_TOTAL_BYTES,
    MAX_TOTAL_FINDINGS,
    Finding,
    scan,
    scan_all,
)

WORD = string.ascii_letters + string.digits
CHANCE = random.Random(7)


def made(size: int, alphabet: str = WORD) -> str:
    return "".join(CHANCE.choice(alphabet) for _ in range(size))


UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
SAMPLES = {
    "AWS access key": "AKIA" + made(16, UPPER),
    "AWS secret key": 'aws_secret_access_key = "' + made(40) + '"',
    "GitHub token": "ghp_" + made(36),
    "GitLab token": "glpat-" + made(20),
    "Slack token": "xoxb-" + made(12, string.digits) + "-" + made(24),
    "Stripe key": "sk_live_" + made(24),
    "OpenAI key": "sk-proj-" + made(48),
    "Anthropic key": "sk-ant-" + "api03-" + made(90),
    "Google key": "AIza" + made(35),
    "SendGrid key": "SG." + made(22) + "." + made(43),
    "npm token": "npm_" + made(36),
    "Floom access token": "fpt_" + made(43),
    "private key": "-----BEGIN " + "RSA PRIVATE KEY-----\n" + made(64),
}


@pytest.mark.parametrize("kind", [*SAMPLES])
def test_each_kind_is_found_in_its_line(kind: str) -> None:
    text = f"# how to call it\n\nKEY = '{SAMPLES[kind]}'\n"

    found = scan("run.py", text.encode())

    assert found == [Finding("run.py", 3, kind)]
    assert SAMPLES[kind][8:] not in found[0].warning
    assert "run.py, line 3" in found[0].warning


@pytest.mark.parametrize(
    "text",
    [
        "AKIA",
        "AKIAIOSFODNN7EXAMPLE",
        "sk_live_your_key_goes_here",
        "sk-proj-xxxxxxxxxxxxxxxxxxxxxxxx",
        "ghp_000000000000000000000000000000000000",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A",
        "-----BEGIN PRIVATE KEY-----",
        "token = os.environ['GITHUB_TOKEN']",
        "disk-ghp_usage",
    ],
)
def test_examples_and_names_are_no_credentials(text: str) -> None:
    assert scan("README.md", text.encode()) == []


def test_findings_are_bounded_and_once_a_line() -> None:
    line = SAMPLES["GitHub token"]
    assert scan("a", f"{line} {line}".encode()) == [Finding("a", 1, "GitHub token")]
    assert len(scan("a", "\n".join([line] * 99).encode())) == MAX_FINDINGS


def test_what_lies_beyond_the_cap_is_not_read() -> None:
    data = b"\n" * MAX_SCANNED_BYTES + SAMPLES["npm token"].encode()
    assert scan("a", data) == []


@given(data=st.binary(max_size=400))
def test_any_bytes_are_scanned(data: bytes) -> None:
    scan("a", data)
    scan("a", data + SAMPLES["npm token"].encode() + data)


def test_many_files_are_bounded_together() -> None:
    leak = SAMPLES["npm token"].encode()
    many = [(f"{number}", leak) for number in range(MAX_TOTAL_FINDINGS + 5)]
    assert [found.path for found in scan_all(many)] == [path for path, _ in many[:-5]]
    filler = b"\n" * MAX_SCANNED_BYTES
    fill = [("filler", filler)] * (MAX_TOTAL_BYTES // MAX_SCANNED_BYTES)
    assert scan_all([*fill[1:], ("a", leak)]) == [Finding("a", 1, "npm token")]
    assert scan_all([*fill, ("a", leak)]) == []


@pytest.mark.parametrize(
    "piece",
    [b"eyJ", b"-eyJ", b"eyJhbGciOiJub25lIn0.eyJ", b"-----BEGIN A ", b"xoxb-a-", b"SG.", b"sk-",
     b"AKIA"],
)  # fmt: skip
def test_hostile_text_costs_no_more_than_its_length(piece: bytes) -> None:
    """A megabyte of beginnings: in quadratic time it would outlast the test's limit by far."""
    scan("a", piece * (1024 * 1024 // len(piece)))
