"""Sending requests: what is repeated, how often, and what is said when it fails."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from lib.storage.ports import PutInDoubt, StoreUnavailable
from lib.storage.s3.answers import Answer, Verdict, judge

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

ATTEMPTS: Final = 4
_PATIENCE_SECONDS: Final = 8.0  # after which nothing is sent again
_FIRST_WAIT_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 2.0

Result = TypeVar("Result")


class Failure(Exception):
    """A request that did not succeed, and will not be repeated here.

    Attributes:
        answer: Of the last attempt.
        in_doubt: An attempt may have had its effect, or may still get it; or the
            state refuses what an earlier attempt may have done to it, although
            its answer was that the server is busy.
    """

    def __init__(self, verdict: Verdict, *, in_doubt: bool) -> None:
        super().__init__(verdict.word)
        self.answer = verdict.answer
        self.reason = verdict.reason
        self.in_doubt = in_doubt


class Requests:
    """Sends requests to S3 with a client that is made at the first of them.

    The library's own errors end here: nothing above sees one, and their texts,
    which may hold headers, are dropped.

    Args:
        connect: Makes the client; called once, by one thread.
        wait: Sleeps for so many seconds between two attempts.
        place: Names the bucket in messages.
    """

    def __init__(
        self, connect: Callable[[], S3Client], *, wait: Callable[[float], None], place: str
    ) -> None:
        self._connect = connect
        self._wait = wait
        self._place = place
        self._lock = threading.Lock()
        self._client: S3Client | None = None

    def send(
        self, request: Callable[[S3Client], Result], *, repeat: frozenset[Answer] = frozenset()
    ) -> Result:
        """Return what a request returns.

        Args:
            request: Sends it; may be called ATTEMPTS times.
            repeat: After which answers it is sent again.

        Raises:
            Failure: another answer, or one of these each time.
            StoreUnavailable: there is no client.
        """
        client = self._get_client()
        seen: set[Answer] = set()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return request(client)
            except Exception as ex:
                judged = judge(ex)
                if judged is None:
                    raise
                verdict = judged
            seen.add(verdict.answer)
            is_last = attempt == ATTEMPTS or time.monotonic() > deadline
            if verdict.answer not in repeat or is_last:
                break
            self._wait(_pause(attempt))
        refused_late = verdict.answer in OF_STATE and Answer.BUSY in seen
        raise Failure(verdict, in_doubt=refused_late or Answer.UNCLEAR in seen)

    def unavailable(self, failure: Failure) -> StoreUnavailable:
        """Return what a failure that the caller cannot help is to those above."""
        return StoreUnavailable(f"{self._place} cannot be used now: {failure.reason}.")

    def in_doubt(self, failure: Failure, key: str) -> PutInDoubt:
        """Return what a put is that may have had its effect."""
        return PutInDoubt(
            f"Whether {key} was put into {self._place} is not known: {failure.reason}."
        )

    def _get_client(self) -> S3Client:
        with self._lock:
            if self._client is None:
                self._client = self._make_client()
            return self._client

    def _make_client(self) -> S3Client:
        try:
            return self._connect()
        except Exception as ex:
            verdict = judge(ex)
            if verdict is None:
                raise
            failure = Failure(verdict, in_doubt=False)
        raise self.unavailable(failure)


# What another state of the object answers.
OF_STATE: Final = frozenset({Answer.MISMATCH, Answer.ABSENT, Answer.CONFLICT})
# What may be sent again where a second effect is the same as one.
ANY_NUMBER: Final = frozenset({Answer.BUSY, Answer.UNCLEAR, Answer.CONFLICT})
# What may be sent again where the first effect would be taken for somebody else's.
UNTIL_SENT: Final = frozenset({Answer.BUSY, Answer.CONFLICT})


def _pause(attempt: int) -> float:
    """Return the seconds after an attempt: doubled each time, and never those of others."""
    longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0**attempt)
    return longest * (500 + secrets.randbelow(500)) / 1000


def sleep(seconds: float) -> None:
    """Wait between two attempts."""
    time.sleep(seconds)
