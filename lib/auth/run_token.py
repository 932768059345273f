"""Run tokens: what a run's own process presents, `frt_<run>_<secret>`.

One is minted with each claim and given to that attempt. Its hash lives on the
run, written with the claim, so it is found by the run's id, no index is needed,
and the next claim puts another in its place: a token is as good as its fence.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final, Protocol

from lib.auth.credentials import RUN_TOKEN_PREFIX
from lib.auth.principal import Principal, Role
from lib.errors import NotFound, Unauthenticated
from lib.ids import ULID_PATTERN
from lib.storage.records import RunRecord, RunStatus

SECRET_BYTES: Final = 32
_RUN_PREFIX: Final = "run_"
_TOKEN: Final = re.compile(
    rf"{RUN_TOKEN_PREFIX}(?P<ulid>{ULID_PATTERN})_[A-Za-z0-9_-]{{43}}".encode()
)


@dataclass(frozen=True, slots=True)
class RunToken:
    """A fresh token.

    Attributes:
        value: For the run's environment, and for nothing else.
        sha256: For the run's record, hex.
    """

    value: str = field(repr=False)
    sha256: str


def mint(run_id: str) -> RunToken:
    """Return a new token of a run: its id without the prefix, and 32 random bytes."""
    ulid = run_id.removeprefix(_RUN_PREFIX)
    value = f"{RUN_TOKEN_PREFIX}{ulid}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return RunToken(value, _digest(value.encode()))


class RunLookup(Protocol):
    """The part of a `RunStore` that judging a token needs."""

    def get(self, run_id: str) -> RunRecord:
        """Return a run. Raises RunNotFound."""
        ...


class RunTokens:
    """Judges run tokens.

    Args:
        runs: Where their hashes are.
    """

    def __init__(self, runs: RunLookup) -> None:
        self._runs = runs

    def check(self, presented: bytes) -> Principal:
        """Return the run that presents its token.

        Raises:
            Unauthenticated: it is none, or the run is not running, or has been
                claimed again since.
        """
        match = _TOKEN.fullmatch(presented)
        if match is None:
            raise _refusal()
        run = self._find(_RUN_PREFIX + match["ulid"].decode())
        if run is None or run.status is not RunStatus.RUNNING or run.token_sha256 is None:
            raise _refusal()
        if not hmac.compare_digest(_digest(presented), run.token_sha256):
            raise _refusal()
        return Principal(run.id, Role.MEMBER, "run_token")

    def _find(self, run_id: str) -> RunRecord | None:
        try:
            return self._runs.get(run_id)
        except NotFound:
            return None


def _digest(token: bytes) -> str:
    return hashlib.sha256(token).hexdigest()


def _refusal() -> Unauthenticated:
    return Unauthenticated(
        "The run token is not of a run that is running; it ends with its attempt."
    )
