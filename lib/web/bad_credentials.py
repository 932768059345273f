"""Bad credentials from one address, so that guessing comes to an end.

The shared store has the truth. What this process knows of it spares the store
while an address is refused, and counts at once what the store is still being
told.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from lib.auth.credentials import Credentials
from lib.auth.principal import Principal
from lib.clock import Clock
from lib.errors import RateLimited, Unauthenticated
from lib.storage.ports import RateStore
from lib.storage.rate_windows import window_end
from lib.web.client_addresses import counted_as
from lib.web.rate_limits import seconds_to

Judge = Callable[[Credentials], Principal]

MAX_BAD_CREDENTIALS: Final = 20
WINDOW_SECONDS: Final = 60
MAX_ADDRESSES: Final = 10_000  # remembered here, some 2 MB; beyond them the store alone knows


class BadCredentials:
    """Counts them by address, and says when no more are looked at."""

    def __init__(self, store: RateStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._window_end = 0
        self._hits: dict[str, int] = {}  # of this window

    def check(self, client: str) -> None:
        """Refuse an address that has sent too many, before a credential is judged.

        Does not block.

        Raises:
            RateLimited: it has.
        """
        if not self._hits:  # nearly always
            return
        with self._lock:
            self._turn_over()
            if self._hits.get(counted_as(client), 0) >= MAX_BAD_CREDENTIALS:
                raise self._refusal()

    def judge(self, client: str, judge: Judge, credentials: Credentials) -> Principal:
        """Return what `judge` says, and count a bad one at once, so the next check knows of it.

        In each thread one guess is under way, so of any number that come together
        no more than there are threads go beyond the limit.

        Raises:
            RateLimited: the address has sent too many.
            Unauthenticated: these are bad.
        """
        self.check(client)
        try:
            return judge(credentials)
        except Unauthenticated:
            self._note(counted_as(client))
            raise

    def count(self, client: str) -> None:
        """Count a bad one that was judged here in the store, for all servers; blocks.

        Raises:
            RateLimited: with those that other servers saw it is one too many.
            StoreUnavailable: nobody knows.
        """
        address, now = counted_as(client), self._clock.now()
        key = f"bad-credential {address}"
        hits = self._store.hit(key, now=now, window_seconds=WINDOW_SECONDS)
        with self._lock:
            if window_end(now, WINDOW_SECONDS) == self._window_end:
                self._remember(address, max(hits, self._hits.get(address, 0)))
            if hits > MAX_BAD_CREDENTIALS:
                raise self._refusal()

    def _note(self, address: str) -> None:
        with self._lock:
            self._turn_over()
            self._remember(address, self._hits.get(address, 0) + 1)

    def _turn_over(self) -> None:
        end = window_end(self._clock.now(), WINDOW_SECONDS)
        if end != self._window_end:
            self._window_end = end
            self._hits.clear()

    def _remember(self, address: str, hits: int) -> None:
        if address not in self._hits and len(self._hits) >= MAX_ADDRESSES:
            del self._hits[next(iter(self._hits))]
        self._hits[address] = hits

    def _refusal(self) -> RateLimited:
        return RateLimited(
            "Too many bad credentials came from this address; none is looked at for a while.",
            retry_after_seconds=seconds_to(self._window_end, self._clock),
        )
