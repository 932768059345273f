"""A page is read once for all that ask before something changes."""

import asyncio

import pytest

from lib.web.call import PageReply
from lib.web.page_cache import MAX_PAGES, PageCache

DEADLINE_SECONDS = 10


class Store:
    """Answers when it is let; counts how often it was asked."""

    def __init__(self):
        self.reads = 0
        self.may_answer = asyncio.Event()
        self.error = None

    async def look(self):
        self.reads += 1
        number = self.reads
        await asyncio.wait_for(self.may_answer.wait(), DEADLINE_SECONDS)
        if self.error is not None:
            raise self.error
        return PageReply(b"%d" % number, None)


async def begun(*calls):
    """Start calls, and let each come to its first wait."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


def test_those_who_ask_at_the_same_time_share_one_look():
    async def scenario():
        cache, store = PageCache(), Store()
        tasks = await begun(*(cache.read("q", 1, store.look) for _ in range(16)))
        store.may_answer.set()
        pages = await asyncio.gather(*tasks)
        return store.reads, {id(page) for page in pages}, cache.find("q", 1) is pages[0]

    reads, pages, is_kept = asyncio.run(scenario())
    assert (reads, len(pages), is_kept) == (1, 1, True)


def test_who_asks_after_a_change_does_not_get_what_was_read_before_it():
    async def scenario():
        cache, store = PageCache(), Store()
        (before,) = await begun(cache.read("q", 1, store.look))
        (after,) = await begun(cache.read("q", 2, store.look))
        store.may_answer.set()
        return (await before).items, (await after).items, cache.find("q", 2), cache.find("q", 1)

    before, after, new, old = asyncio.run(scenario())
    assert (before, after, new.items, old) == (b"1", b"2", b"2", None)


def test_other_queries_are_read_by_themselves():
    async def scenario():
        cache, store = PageCache(), Store()
        store.may_answer.set()
        return [(await cache.read(query, 1, store.look)).items for query in ("a", "b")]

    assert asyncio.run(scenario()) == [b"1", b"2"]


def test_a_look_that_fails_is_not_kept():
    async def scenario():
        cache, store = PageCache(), Store()
        store.error = ValueError("the disk")
        tasks = await begun(*(cache.read("q", 1, store.look) for _ in range(2)))
        store.may_answer.set()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        store.error = None
        return errors, (await cache.read("q", 1, store.look)).items

    errors, page = asyncio.run(scenario())
    assert [type(error) for error in errors] == [ValueError, ValueError]
    assert page == b"2"


def test_a_caller_who_leaves_does_not_end_the_others_look():
    async def scenario():
        cache, store = PageCache(), Store()
        first, second = await begun(*(cache.read("q", 1, store.look) for _ in range(2)))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        store.may_answer.set()
        return (await second).items, store.reads

    assert asyncio.run(scenario()) == (b"1", 1)


def test_a_store_without_a_version_is_asked_each_time():
    async def scenario():
        cache, store = PageCache(), Store()
        store.may_answer.set()
        assert cache.find("q", None) is None
        await cache.read("q", None, store.look)
        await cache.read("q", None, store.look)
        return store.reads, cache.find("q", None)

    assert asyncio.run(scenario()) == (2, None)


def test_pages_do_not_pile_up():
    async def scenario():
        cache, store = PageCache(), Store()
        store.may_answer.set()
        for query in range(3 * MAX_PAGES):
            await cache.read(query, 1, store.look)
        return sum(cache.find(query, 1) is not None for query in range(3 * MAX_PAGES))

    assert 0 < asyncio.run(scenario()) <= MAX_PAGES
