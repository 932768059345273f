"""The review page in a real browser, on a phone: read, edited, mended, sent."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Iterator
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import falcon
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from lib.pages.forms import Approval, read_approval
from lib.pages.page import MEDIA_TYPE, Page
from lib.pages.review import review
from lib.pages.reviewed import reviewed
from lib.web.headers import complete
from lib.web.origins import Origins
from tests.lib.pages.samples import ACTIONS, FIELDS, SHA256, review_view

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
DEADLINE_SECONDS = 20
PHONE = {"width": 375, "height": 700, "deviceScaleFactor": 1, "mobile": True}
MISSING = [
    name
    for name, found in {
        "a Chromium": next(filter(None, map(shutil.which, BROWSERS)), None),
        "chromedriver": shutil.which("chromedriver"),
    }.items()
    if not found
]
SIZES = """return [document.documentElement.scrollWidth, Math.min(
  ...[...document.querySelectorAll("body *")].map(e => parseFloat(getComputedStyle(e).fontSize)))]"""

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"this machine lacks {' and '.join(MISSING)}")


class Reviews:
    """The page, and its form, under the headers and the origin rule of every answer."""

    def __init__(self) -> None:
        self.approved: list[Approval] = []

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        answer(response, review(review_view(), ACTIONS))

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        headers = {name.lower().encode(): value.encode() for name, value in request.headers.items()}
        Origins("https://floom.example").check(headers, "http")
        read = read_approval(request.bounded_stream.read(), FIELDS, SHA256)
        if not read.can_be_taken:
            answer(response, review(review_view(), ACTIONS, answers=read.answers, status=422))
            return
        self.approved.append(read)
        answer(response, reviewed("Send this mail?", "approved"))


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a browser keeps connections that it may want


class Quiet(WSGIRequestHandler):
    def log_message(self, *_values: object) -> None:
        """Say nothing."""


def answer(response: falcon.Response, page: Page) -> None:
    response.status = page.status
    response.data = page.body
    response.content_type = MEDIA_TYPE
    given = [(name.encode(), value.encode()) for name, value in page.headers.items()]
    for name, value in complete(given, b"r1", is_secure=False):
        response.set_header(name.decode(), value.decode())


@pytest.fixture
def reviews() -> Reviews:
    return Reviews()


@pytest.fixture
def address(reviews: Reviews) -> Iterator[str]:
    app: falcon.App[falcon.Request, falcon.Response] = falcon.App()
    app.add_route("/approvals/public/t0ken", reviews)
    app.add_route("/approvals/public/t0ken/approve", reviews)
    with make_server("127.0.0.1", 0, app, Server, Quiet) as server:
        serve = functools.partial(server.serve_forever, poll_interval=0.05)
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/approvals/public/t0ken"
        server.shutdown()
        thread.join(DEADLINE_SECONDS)


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, BROWSERS)))
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    driver.set_page_load_timeout(DEADLINE_SECONDS)
    try:
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
        yield driver
    finally:
        driver.quit()


def test_a_review_by_keyboard_on_a_phone(
    browser: webdriver.Chrome, address: str, reviews: Reviews
) -> None:
    browser.get(address)
    assert_readable(browser)
    retype(browser, "output-1", "Dear Bo,\nhello.")
    retype(browser, "output-3", "lots", Keys.ENTER)

    WebDriverWait(browser, DEADLINE_SECONDS).until(lambda it: it.title.startswith("Problem: "))
    assert_readable(browser)
    assert browser.switch_to.active_element.get_attribute("role") == "alert"
    assert value_of(browser, "output-1") == "Dear Bo,\nhello."
    retype(browser, "output-3", "12.5", Keys.ENTER)

    WebDriverWait(browser, DEADLINE_SECONDS).until(lambda it: it.title.startswith("Approved"))
    assert_readable(browser)
    assert [each.edits for each in reviews.approved] == [
        {"body": "Dear Bo,\nhello.", "amount": 12.5}
    ]
    assert refusals(browser) == []


def retype(browser: webdriver.Chrome, key: str, *keys: str) -> None:
    browser.find_element(By.ID, key).send_keys(Keys.CONTROL, "a")
    browser.find_element(By.ID, key).send_keys(*keys)


def value_of(browser: webdriver.Chrome, key: str) -> str | None:
    return browser.find_element(By.ID, key).get_property("value")  # type: ignore[return-value]


def assert_readable(browser: webdriver.Chrome) -> None:
    """Nothing to scroll sideways for, and no small print: so the style sheet counts, too."""
    width, smallest = browser.execute_script(SIZES)
    assert width <= PHONE["width"]
    assert smallest >= 16


def refusals(browser: webdriver.Chrome) -> list[str]:
    """Return what the content security policy kept from happening."""
    said = [str(entry["message"]) for entry in browser.get_log("browser")]
    return [message for message in said if "Content Security Policy" in message]
