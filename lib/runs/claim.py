"""Claiming runs in the name of a server."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from lib.auth.run_token import mint
from lib.auth.secret_token import SecretToken
from lib.clock import Clock
from lib.runs import state
from lib.storage.records import RunChange, RunRecord, SandboxReport

LEASE_SECONDS: Final = 30
RUNNER: Final = "local"


class Claim:
    """One claim: what it makes of each run that a store lets it have.

    Args:
        owner: Id of the server; it names the lease.
        report: What the sandbox holds now.
    """

    def __init__(self, *, owner: str, report: SandboxReport, clock: Clock) -> None:
        self._owner = owner
        self._report = report
        self._clock = clock
        self._tokens: dict[str | None, SecretToken] = {}

    def start(self, run: RunRecord) -> RunChange:
        """Return the run as claimed, with the hash of a token of its own."""
        token = mint(run.id)  # a store may ask again: only the last one's hash is kept
        self._tokens[token.sha256] = token
        now = self._clock.now()
        started = state.Started(
            owner=self._owner,
            lease_until=now + timedelta(seconds=LEASE_SECONDS),
            runner=RUNNER,
            sandbox=self._report,
            token_sha256=token.sha256,
        )
        return state.transition(run, started, now)

    def token_of(self, run: RunRecord) -> SecretToken:
        """Return the token of a run that this claim got."""
        return self._tokens[run.token_sha256]
