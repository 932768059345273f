"""Pages of a list that many callers poll: read once for all of them.

Who polls an idle workspace costs next to nothing; who polls a busy one shares
a look at the store with all that ask before something changes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Final

from lib.web.call import PageReply

MAX_PAGES: Final = 64  # up to 130 KB each


class PageCache:
    """Pages as they were answered, for as long as the store stands still.

    A version is a number that the store changes after each write and before
    that write is answered, so a page read under a version has all that its
    callers know to be written. None: the store does not tell; nothing is kept.
    """

    def __init__(self) -> None:
        self._version: int | None = None
        self._pages: dict[Hashable, PageReply] = {}
        self._reads: dict[Hashable, asyncio.Future[PageReply]] = {}

    def find(self, query: Hashable, version: int | None) -> PageReply | None:
        """Return the page as it is at this version of the store, if it is known."""
        return self._pages.get(query) if version == self._version else None

    async def read(
        self, query: Hashable, version: int | None, look: Callable[[], Awaitable[PageReply]]
    ) -> PageReply:
        """Return what `look` finds; of those who ask for the same, one looks.

        Args:
            query: What is asked for.
            version: Of the store, before this call.
            look: Reads the page. It goes on when a caller is cancelled, for the others.
        """
        if version is None:
            return await look()
        if version != self._version or len(self._pages) >= MAX_PAGES:
            self._version, self._pages, self._reads = version, {}, {}
        reading = self._reads.get(query)
        if reading is None:
            reading = self._reads[query] = asyncio.ensure_future(look())
            reading.add_done_callback(lambda done: self._keep(query, version, done))
        return await asyncio.shield(reading)

    def _keep(self, query: Hashable, version: int, done: asyncio.Future[PageReply]) -> None:
        if self._reads.get(query) is done:
            del self._reads[query]
        if done.cancelled() or done.exception() is not None or version != self._version:
            return
        self._pages[query] = done.result()
