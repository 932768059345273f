"""Pages of the real server in a real browser, on a phone: read, edited, mended, sent."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from tests.e2e.server import ServerProcess
from tests.e2e.test_accounts import admin_link

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


MANIFEST = """
exec:
  outputs:
    - {name: to, type: email}
    - {name: body, type: textarea}
    - {name: count, type: integer}
    - {name: amount, type: number, bounds: {maximum: 100}}
approvals: {required: true, label: "Send this mail?"}
"""
PROPOSE = (
    "import json\n"
    "inputs = json.load(open('inputs.json'))\n"
    "draft = {'to': 'ada@example.org', 'body': '\\nDear Ada,\\n', 'count': 3, 'amount': 12}\n"
    "draft = inputs.get('approved_output', draft)\n"
    "json.dump({'status': 'success', 'outputs': draft}, open('result.json', 'w'))\n"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "var") as server:
        server.add_worker("mailer", MANIFEST, run_py=PROPOSE)
        server.reload()
        yield server


def review_address(server: ServerProcess) -> tuple[str, str]:
    """Let the worker propose; return the approval's id and the address of a link to it."""
    server.run("mailer")
    (approval,) = server.client.get("/approvals").json()
    made = server.client.post(
        f"/approvals/{approval['id']}/links", json={"email": "eve@example.org"}
    )
    return approval["id"], made.json()["url"]


def test_a_review_by_keyboard_on_a_phone(browser: webdriver.Chrome, server: ServerProcess) -> None:
    approval_id, address = review_address(server)
    browser.get(address)
    assert_readable(browser)
    retype(browser, "output-1", "Dear Bo,\nhello.")
    retype(browser, "output-3", "lots", Keys.ENTER)

    wait_for_title(browser, "Problem: ")
    assert_readable(browser)
    assert browser.switch_to.active_element.get_attribute("role") == "alert"
    assert value_of(browser, "output-1") == "Dear Bo,\nhello."
    retype(browser, "output-3", "1000", Keys.ENTER)  # a number, but not one that the worker takes

    WebDriverWait(browser, DEADLINE_SECONDS).until(lambda it: "at most 100" in it.page_source)
    retype(browser, "output-3", "12.5", Keys.ENTER)

    wait_for_title(browser, "Approved")
    assert_readable(browser)
    follow_up = server.client.get(f"/approvals/{approval_id}").json()["follow_up_run_id"]
    assert server.finished(follow_up)["outputs"] == {
        "to": "ada@example.org", "body": "Dear Bo,\nhello.", "count": 3, "amount": 12.5,
    }  # fmt: skip
    assert refusals(browser) == []


def test_a_sign_in_on_a_phone(browser: webdriver.Chrome, server: ServerProcess) -> None:
    browser.get(server.url + admin_link(server))
    assert_readable(browser)
    browser.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)

    WebDriverWait(browser, DEADLINE_SECONDS).until(lambda it: it.get_cookie("floom_session"))
    cookie = browser.get_cookie("floom_session")
    assert cookie is not None
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    browser.get(f"{server.url}/auth/me")
    assert '"role":"admin"' in browser.page_source


def wait_for_title(browser: webdriver.Chrome, start: str) -> None:
    """Wait for another page than the present one, with this title."""
    WebDriverWait(browser, DEADLINE_SECONDS).until(lambda it: it.title.startswith(start))


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
