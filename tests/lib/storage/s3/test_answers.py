from __future__ import annotations

from typing import Any

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from lib.storage.s3.answers import Answer, DamagedAnswer, judge

SECRET = "hunter22"


def answer(status: int, code: str = "", operation: str = "PutObject") -> ClientError:
    said: Any = {
        "Error": {"Code": code, "Message": f"Your key is {SECRET}."},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(said, operation)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (answer(404, "NoSuchKey"), Answer.ABSENT),
        (answer(404, "404", "HeadObject"), Answer.ABSENT),
        (answer(404, "NoSuchBucket"), Answer.REFUSED),
        (answer(404, "404", "GetObject"), Answer.REFUSED),
        (answer(304, "304", "GetObject"), Answer.UNCHANGED),
        (answer(412, "PreconditionFailed"), Answer.MISMATCH),
        (answer(409, "ConditionalRequestConflict"), Answer.CONFLICT),
        (answer(503, "SlowDown"), Answer.BUSY),
        (answer(429, "429"), Answer.BUSY),
        (answer(400, "RequestTimeout"), Answer.BUSY),
        (answer(400, "XAmzContentSHA256Mismatch"), Answer.BUSY),
        (answer(500, "InternalError"), Answer.UNCLEAR),
        (answer(503, "ServiceUnavailable"), Answer.UNCLEAR),
        (answer(502), Answer.UNCLEAR),
        (answer(501, "NotImplemented"), Answer.REFUSED),
        (answer(403, "AccessDenied"), Answer.REFUSED),
        (answer(301, "PermanentRedirect"), Answer.REFUSED),
        (exceptions.ConnectTimeoutError(endpoint_url=SECRET), Answer.BUSY),
        (exceptions.EndpointConnectionError(endpoint_url=SECRET), Answer.BUSY),
        (exceptions.ReadTimeoutError(endpoint_url=SECRET), Answer.UNCLEAR),
        (exceptions.ConnectionClosedError(endpoint_url=SECRET), Answer.UNCLEAR),
        (exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2), Answer.UNCLEAR),
        (exceptions.NoCredentialsError(), Answer.REFUSED),
        (ResponseParserError(SECRET), Answer.UNCLEAR),
        (DamagedAnswer(), Answer.UNCLEAR),
    ],
    ids=str,
)
def test_what_an_answer_says_of_its_request(error: Exception, expected: Answer) -> None:
    verdict = judge(error)

    assert verdict is not None
    assert verdict.answer is expected
    assert verdict.reason
    assert SECRET not in verdict.reason


def test_a_word_that_is_none_is_not_repeated() -> None:
    verdict = judge(answer(400, f"<b>{SECRET}</b>"))

    assert verdict is not None
    assert verdict.reason == "the answer was 400"


def test_other_errors_are_not_the_stores() -> None:
    assert judge(ZeroDivisionError()) is None
