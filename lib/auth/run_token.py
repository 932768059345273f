"""Run tokens: what a run's own process presents, `frt_<run>_<secret>`.

One is minted with each claim and given to that attempt. Its hash lives on the
run, written with the claim, so it is found by the run's id, no index is needed,
and the next claim puts another in its place: a token is as good as its fence.
"""

from __future__ import annotations

import hmac
from typing import Final, Protocol

from lib.auth.credentials import RUN_TOKEN_PREFIX
from lib.auth.principal import Principal, Role
from lib.auth.secret_token import SecretToken, find_named, mint_for
from lib.errors import NotFound, Unauthenticated
from lib.storage.records import RunRecord, RunStatus

_RUN_PREFIX: Final = "run_"


def mint(run_id: str) -> SecretToken:
    """Return a new token of a run, for the run's environment and nothing else."""
    return mint_for(RUN_TOKEN_PREFIX, run_id)


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
        named = find_named(RUN_TOKEN_PREFIX, presented)
        if named is None:
            raise _refusal()
        run = self._find(_RUN_PREFIX + named.ulid)
        if run is None or run.status is not RunStatus.RUNNING or run.token_sha256 is None:
            raise _refusal()
        if not hmac.compare_digest(named.sha256, run.token_sha256):
            raise _refusal()
        return Principal(run.id, Role.MEMBER, "run_token")

    def _find(self, run_id: str) -> RunRecord | None:
        try:
            return self._runs.get(run_id)
        except NotFound:
            return None


def _refusal() -> Unauthenticated:
    return Unauthenticated(
        "The run token is not of a run that is running; it ends with its attempt."
    )
