"""Looks for values that are live credentials by their form.

The deny list keeps files out by name. This looks inside the others, for the
forms that providers give their keys so that they can be found again. It warns
and never decides: a key in an example is no reason to refuse a commit. What was
found is never kept or logged, only where, and of which kind.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from lib.workspace.git_paths import shown

MAX_SCANNED_BYTES: Final = 4 * 1024 * 1024  # of one file, from its beginning
MAX_FINDINGS: Final = 20  # of one file
MAX_TOTAL_BYTES: Final = 64 * 1024 * 1024  # of many files, at a second or so
MAX_TOTAL_FINDINGS: Final = 100
MAX_TRIES: Final = 20_000  # beginnings of one form in one file; no honest file has so many
MIN_DISTINCT: Final = 6  # characters; a random key of 16 has fewer once in 10 million

_WORD_BYTE: Final = re.compile(rb"[A-Za-z0-9]")
_PLACEHOLDER: Final = re.compile(
    rb"example|placeholder|your[-_]|xxxx|123456789|abcdefgh", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A place that looks like a live credential.

    Attributes:
        path: Of the file, as it was given.
        line: From 1; of a binary file too, where it says little.
        kind: What it looks like, such as `AWS access key`.
    """

    path: str
    line: int
    kind: str

    @property
    def warning(self) -> str:
        """One sentence for whoever can do something about it."""
        return (
            f"{shown(self.path)}, line {self.line}, looks like a live credential ({self.kind}): "
            "take it out, store it as a secret, and revoke the one that was here."
        )


@dataclass(frozen=True, slots=True)
class _Form:
    """What the credentials of one kind look like.

    Attributes:
        literal: Bytes that each begins with; searched first, at memchr's speed.
        rest: What follows. Every repetition is bounded, none is nested, so a try
            costs no more than the longest match.
        is_live: A closer look, where the form alone says too little.
    """

    kind: str
    literal: bytes
    rest: re.Pattern[bytes]
    is_live: Callable[[bytes], bool]


def scan(path: str, data: bytes) -> list[Finding]:
    """Return where a file seems to hold live credentials, by line; pure.

    Any bytes are taken, in time that grows with their number alone: of a large
    file the first MAX_SCANNED_BYTES are looked at, of text that is all beginnings
    the first MAX_TRIES, of many findings the first MAX_FINDINGS are returned, one a
    line and kind.
    """
    text = _plain(data[:MAX_SCANNED_BYTES])
    hits = sorted({hit for form in _FORMS for hit in _hits(form, text)})
    found: dict[Finding, None] = {}
    line, counted = 1, 0
    for at, kind in hits:
        line += text.count(b"\n", counted, at)
        counted = at
        found[Finding(path, line, kind)] = None
        if len(found) == MAX_FINDINGS:
            break
    return [*found]


def scan_all(files: Iterable[tuple[str, bytes]]) -> list[Finding]:
    """Return what `scan` finds in files, by path and bytes.

    Of all together the first MAX_TOTAL_BYTES are looked at, and the first
    MAX_TOTAL_FINDINGS are returned.
    """
    found: list[Finding] = []
    left = MAX_TOTAL_BYTES
    for path, data in files:
        if left <= 0 or len(found) >= MAX_TOTAL_FINDINGS:
            break
        looked_at = data[: min(left, MAX_SCANNED_BYTES)]
        left -= len(looked_at)
        found.extend(scan(path, looked_at))
    return found[:MAX_TOTAL_FINDINGS]


def _plain(data: bytes) -> bytes:
    """Return UTF-16, which some editors write, as the ASCII that keys consist of."""
    is_utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.replace(b"\0", b"") if is_utf_16 else data


def _hits(form: _Form, text: bytes) -> Iterator[tuple[int, str]]:
    count, tries = 0, 0
    at = text.find(form.literal)
    while at >= 0 and count < MAX_FINDINGS and tries < MAX_TRIES:
        tries += 1
        rest = at + len(form.literal)
        match = form.rest.match(text, rest) if _begins(text, at) else None
        if match is not None and form.is_live(match[0]):
            count += 1
            yield at, form.kind
        at = text.find(form.literal, match.end() if match else rest)


def _begins(text: bytes, at: int) -> bool:
    """Return whether a word may begin at `at`, and not only go on there."""
    return at == 0 or _WORD_BYTE.match(text, at - 1) is None


def _is_random(value: bytes) -> bool:
    return len(set(value)) >= MIN_DISTINCT and _PLACEHOLDER.search(value) is None


def _is_jwt(value: bytes) -> bool:
    """Return whether the text after `eyJ` completes a signed token's header."""
    header = b"eyJ" + value.partition(b".")[0]
    try:
        decoded = json.loads(base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return False
    algorithm = decoded.get("alg") if isinstance(decoded, dict) else None
    return isinstance(algorithm, str) and algorithm.lower() != "none"


def _always(_value: bytes) -> bool:
    return True


def _form(
    kind: str, literal: str, rest: str, is_live: Callable[[bytes], bool] = _is_random
) -> _Form:
    return _Form(kind, literal.encode(), re.compile(rest.encode()), is_live)


_WORD_ENDS: Final = "(?![A-Za-z0-9])"
_WORD: Final = "[A-Za-z0-9]"
_URL_SAFE: Final = "[A-Za-z0-9_-]"
# What may stand between a private key's first line and its base64: line ends,
# also as JSON and source code write them, and the headers of RFC 1421 and PGP.
_KEY_BODY: Final = (
    r"(?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"[\s\\rn\"'+,]{1,32}(?:[A-Z][A-Za-z-]{2,24}: |[A-Za-z0-9+/]{16})"
)

_FORMS: Final = (
    *(
        _form("AWS access key", prefix, f"[A-Z2-7]{{16}}{_WORD_ENDS}")
        for prefix in ("AKIA", "ASIA")
    ),
    *(
        _form(
            "AWS secret key",
            name,
            r"[\"']?\s{0,4}[=:]\s{0,4}[\"']?[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])",
        )
        for name in ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "SecretAccessKey")
    ),
    *(
        _form("GitHub token", prefix, f"{_WORD}{{36,251}}")
        for prefix in ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")
    ),
    _form("GitHub token", "github_pat_", f"{_WORD}{{22}}_{_WORD}{{59}}"),
    *(
        _form("GitLab token", prefix, f"{_URL_SAFE}{{20,250}}")
        for prefix in ("glpat-", "gldt-", "glptt-", "glrt-", "glcbt-", "glsoat-")
    ),
    *(
        _form("Slack token", prefix, r"(?:[A-Za-z0-9]{1,64}-){1,4}[A-Za-z0-9]{12,250}")
        for prefix in ("xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xapp-")
    ),
    _form(
        "Slack webhook",
        "hooks.slack.com/services/",
        f"T{_WORD}{{6,16}}/B{_WORD}{{6,16}}/{_WORD}{{20,32}}",
    ),
    *(_form("Stripe key", prefix, f"{_WORD}{{16,247}}") for prefix in ("sk_live_", "rk_live_")),
    _form("webhook signing key", "whsec_", r"[A-Za-z0-9+/]{24,88}={0,2}"),
    *(
        _form("OpenAI key", prefix, f"{_URL_SAFE}{{20,250}}")
        for prefix in ("sk-proj-", "sk-svcacct-", "sk-admin-")
    ),
    _form("OpenAI key", "sk-", f"(?:{_WORD}{{20}}T3BlbkFJ{_WORD}{{20}}|{_WORD}{{48}}){_WORD_ENDS}"),
    _form("Anthropic key", "sk-ant-", f"[a-z0-9]{{3,10}}-{_URL_SAFE}{{20,250}}"),
    _form("OpenRouter key", "sk-or-v1-", "[0-9a-f]{64}"),
    _form("Google key", "AIza", f"{_URL_SAFE}{{35}}(?!{_URL_SAFE})"),
    _form("Google client secret", "GOCSPX-", f"{_URL_SAFE}{{28}}"),
    _form("Google token", "ya29.", f"{_URL_SAFE}{{24,250}}"),
    _form("SendGrid key", "SG.", rf"{_URL_SAFE}{{22}}\.{_URL_SAFE}{{43}}"),
    _form("Twilio key", "SK", f"[0-9a-f]{{32}}{_WORD_ENDS}"),
    _form("npm token", "npm_", f"{_WORD}{{36}}{_WORD_ENDS}"),
    *(
        _form("PyPI token", prefix, f"{_URL_SAFE}{{50,250}}")
        for prefix in ("pypi-AgEIcHlwaS5vcmc", "pypi-AgENdGVzdC5weXBpLm9yZw")
    ),
    _form("Hugging Face token", "hf_", f"{_WORD}{{34}}{_WORD_ENDS}"),
    _form("DigitalOcean token", "dop_v1_", "[0-9a-f]{64}"),
    _form("Linear key", "lin_api_", f"{_WORD}{{40}}"),
    *(
        _form("Shopify token", prefix, "[0-9a-fA-F]{32}")
        for prefix in ("shpat_", "shpca_", "shppa_", "shpss_")
    ),
    _form("Floom access token", "fpt_", f"{_URL_SAFE}{{43}}"),
    _form("private key", "-----BEGIN ", _KEY_BODY, _always),
    _form("private key", "PuTTY-User-Key-File-", r"[23]: \S", _always),
    _form("private key", "AGE-SECRET-KEY-1", "[0-9A-Z]{58}"),
    _form(
        "signed token (JWT)",
        "eyJ",
        # not inside a longer word, and no step back: text full of beginnings costs no more
        rf"(?<!{_URL_SAFE}eyJ){_URL_SAFE}{{8,400}}+\.eyJ{_URL_SAFE}{{8,4096}}+\."
        rf"{_URL_SAFE}{{20,1024}}",
        _is_jwt,
    ),
)
