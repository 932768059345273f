"""Browsers are told from programs; in doubt it is a browser."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.web.browsers import accepts_html, may_be_browser

PROGRAMS = [
    {},
    {b"accept": b"*/*", b"user-agent": b"curl/8.5.0", b"host": b"localhost"},
    {b"accept": b"application/json", b"user-agent": b"python-httpx/0.28", b"cookie": b"a=b"},
    {b"accept": b"*/*", b"user-agent": b"Wget/1.21", b"accept-encoding": b"identity"},
    {b"user-agent": b"Boto3/1.40 md/Botocore#1.40"},
    {b"user-agent": b"okhttp/5.0"},
]
BROWSERS = [
    {b"accept": b"text/html"},
    {b"accept": b"application/xml, TEXT/HTML;q=0.1"},
    {b"sec-fetch-dest": b"image"},
    {b"sec-ch-ua": b""},
    {b"user-agent": b"Mozilla/5.0"},
    {b"accept-language": b"*"},
    {b"referer": b""},
    {b"origin": b"null"},
    # What makes the previews of links in chats.
    {
        b"accept": b"*/*",
        b"user-agent": b"Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    },
    {b"user-agent": b"TelegramBot (like TwitterBot)"},
    {b"user-agent": b"WhatsApp/2.23.20.0"},
    {b"user-agent": b"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"},
    {b"user-agent": b"Twitterbot"},
    {b"user-agent": b"Some LinkPreview 1.0"},
]


@pytest.mark.parametrize("headers", PROGRAMS)
def test_a_program(headers):
    assert not may_be_browser(headers)


@pytest.mark.parametrize("headers", BROWSERS)
def test_a_browser(headers):
    assert may_be_browser(headers)
    assert may_be_browser(PROGRAMS[1] | headers)


@given(st.dictionaries(st.binary(max_size=20), st.binary(max_size=20)), st.sampled_from(BROWSERS))
def test_no_further_header_makes_a_program_of_a_browser(further, headers):
    assert may_be_browser(further | headers)


def test_who_takes_anything_asks_for_no_page():
    assert not accepts_html({b"accept": b"*/*"})
    assert not accepts_html({})
