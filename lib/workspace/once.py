"""Effects in git that happen once, however often their request comes.

A commit and the record of its request cannot be one transaction. So the key is
taken in a store first, the commit carries the key in a trailer, and a request
that finds its key taken by nobody who lives looks for that trailer before it
tries again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from lib.clock import Clock
from lib.storage.ports import ClaimStore
from lib.storage.records import PendingClaim, StoredAnswer
from lib.workspace.ancestry import REQUEST_TRAILER, RequestTrailers, Search
from lib.workspace.errors import RequestDone
from lib.workspace.workspace import Workspace

KEY_LIFETIME: Final = timedelta(hours=24)

Effect = Callable[[Mapping[str, str]], StoredAnswer]
Repeat = Callable[[str], StoredAnswer]


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What makes two requests the same one.

    Attributes:
        scope: SHA-256 in hex of principal, route template, path ids and the key.
        body_digest: SHA-256 in hex of the canonical body.
    """

    scope: str
    body_digest: str


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, and whether the effect happened for an earlier request."""

    answer: StoredAnswer
    replayed: bool


class Once:
    """Tries effects in git. Any thread may call.

    Args:
        owner: Names this life of the server; see ClaimStore.take.
    """

    def __init__(
        self, *, claims: ClaimStore, workspace: Workspace, clock: Clock, owner: str
    ) -> None:
        self._claims = claims
        self._workspace = workspace
        self._clock = clock
        self._owner = owner

    def answer(self, key: RequestKey, *, effect: Effect, repeat: Repeat | None) -> Answered:
        """Return the answer to a request; its effect happens at most once a key.

        Args:
            key: The request's.
            effect: Makes one commit with the trailers that it is given, and
                returns its answer; or commits nothing, and raises or returns.
            repeat: Returns the answer again from the commit, where a server was
                killed between the commit and its answer. None: the effect finds
                out by itself what happened of it, so it is simply tried again.

        Raises:
            IdempotencyKeyReused: the key lives with another body.
            IdempotencyKeyInUse: the same request is being worked on.
            Exception: whatever `effect` raises; the key is free again then.
        """
        now = self._clock.now()
        claim = PendingClaim(
            key=key.scope,
            body_digest=key.body_digest,
            owner=self._owner,
            taken_at=now,
            expires_at=now + KEY_LIFETIME,
        )
        taking = self._claims.take(claim, now=now)
        if taking.answer is not None:
            return Answered(taking.answer, replayed=True)
        try:
            answer, is_replayed = self._have(key, taking.tried_since, effect, repeat)
            self._claims.settle(claim, answer)
        except BaseException:
            # also where the commit may stand: whoever comes next looks for it
            self._claims.give_up(claim)
            raise
        return Answered(answer, replayed=is_replayed)

    def _have(
        self, key: RequestKey, tried_since: datetime | None, effect: Effect, repeat: Repeat | None
    ) -> tuple[StoredAnswer, bool]:
        """Return the answer, and whether it is that of a commit which is there already."""
        if repeat is None:
            return effect({REQUEST_TRAILER: key.scope}), False
        search = Search(None, self._workspace.tip())
        if tried_since is not None:
            search = self._workspace.find_request(key.scope, since=tried_since)
        commit = search.commit
        if commit is None:
            try:
                return effect(RequestTrailers(key.scope, searched=search.tip)), False
            except RequestDone as ex:
                commit = ex.commit
        return repeat(commit), True
