"""What an answer of S3, or its absence, says about the request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

# Refused before anything was done; the same request may be taken a little later.
_BUSY: Final = frozenset({
    "SlowDown", "SlowDownRead", "SlowDownWrite", "Throttling", "ThrottlingException",
    "TooManyRequests", "TooManyRequestsException", "RequestLimitExceeded",
    "RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch",
})  # fmt: skip
_WORD: Final = re.compile(r"[A-Za-z0-9.]{1,64}\Z")
_OF_CREDENTIALS: Final = (
    "the credentials are not accepted: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
    "AWS_SESSION_TOKEN"
)
_OF_PERMISSIONS: Final = (
    "the credentials may not do this: they need s3:GetObject, s3:PutObject and "
    "s3:DeleteObject on its objects and s3:ListBucket on the bucket, without which "
    "S3 does not say whether an object is there"
)
_OF_REGION: Final = "it is in another region: set AWS_DEFAULT_REGION to the bucket's"
_WORDS: Final = {
    "NoSuchBucket": "there is no such bucket",
    "AccessDenied": _OF_PERMISSIONS,
    "403": _OF_PERMISSIONS,
    "InvalidAccessKeyId": _OF_CREDENTIALS,
    "SignatureDoesNotMatch": _OF_CREDENTIALS,
    "InvalidToken": _OF_CREDENTIALS,
    "ExpiredToken": _OF_CREDENTIALS,
    "RequestTimeTooSkewed": "the clock of this host is wrong",
    "PermanentRedirect": _OF_REGION,
    "AuthorizationHeaderMalformed": _OF_REGION,
    "NotImplemented": "the server does not know this kind of request",
    "NoCredentialsError": "there are no AWS credentials: set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or give this host a role",
    "EndpointConnectionError": "there is no connection to the server",
    "ConnectTimeoutError": "there is no connection to the server",
    "ReadTimeoutError": "the server does not answer",
    "SlowDown": "the server asks for fewer requests",
    "DamagedAnswer": "what came is damaged on its way or in the store",
}


class DamagedAnswer(Exception):
    """An answer lacks what it must have, or its bytes are not those that were put."""


class Answer(Enum):
    """What is known of a request that did not succeed."""

    ABSENT = auto()  # there is no such object
    UNCHANGED = auto()  # the reader has it already
    MISMATCH = auto()  # a condition does not hold; no effect
    CONFLICT = auto()  # another request for this object was going on; no effect
    BUSY = auto()  # no effect; the same request may be taken later
    UNCLEAR = auto()  # may have had its effect, or still get it
    REFUSED = auto()  # no effect, and repeating it will not help


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer, and the word that S3 or the library has for it: no secret is a word."""

    answer: Answer
    word: str

    @property
    def reason(self) -> str:
        """A clause for the operator, of our own words and that one."""
        known = _WORDS.get(self.word)
        return f"{known} ({self.word})" if known else f"the answer was {self.word}"


def judge(error: Exception) -> Verdict | None:
    """Return what an error of the library says; None for an error that is not its own.

    The message of such an error is never looked at: some servers repeat headers,
    keys and tokens in it.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    if isinstance(error, ClientError):
        return _judge_answer(error)
    if isinstance(error, DamagedAnswer | ResponseParserError):  # something was done
        return Verdict(Answer.UNCLEAR, type(error).__name__)
    if isinstance(error, BotoCoreError):
        return Verdict(_judge_silence(error), type(error).__name__)
    return None


def _judge_answer(error: ClientError) -> Verdict:
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = str(error.response.get("Error", {}).get("Code", ""))
    word = code if _WORD.match(code) else str(status)
    return Verdict(_of_status(status, word, error.operation_name), word)


def _of_status(status: int, word: str, operation: str) -> Answer:
    # A 404 without S3's own word may be anybody's: a proxy's, or of a wrong address.
    # Only the answer to HEAD has no place for the word.
    if word == "NoSuchKey" or (status == 404 and operation == "HeadObject"):
        return Answer.ABSENT
    if word in _BUSY or status == 429:
        return Answer.BUSY
    if status >= 500 and status != 501:
        return Answer.UNCLEAR
    known = {304: Answer.UNCHANGED, 412: Answer.MISMATCH, 409: Answer.CONFLICT}
    return known.get(status, Answer.REFUSED)


def _judge_silence(error: BotoCoreError) -> Answer:
    from botocore import exceptions

    nothing_sent = (
        exceptions.ConnectTimeoutError,
        exceptions.EndpointConnectionError,
        exceptions.ProxyConnectionError,
    )
    unclear = (
        exceptions.HTTPClientError,
        exceptions.ConnectionError,
        exceptions.IncompleteReadError,
    )
    if isinstance(error, nothing_sent):
        return Answer.BUSY
    return Answer.UNCLEAR if isinstance(error, unclear) else Answer.REFUSED
