"""Every page: nothing runs or loads, everything is escaped, everybody can read it."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys

import jinja2
import pytest

from lib.pages import page
from lib.pages.refused import refused
from lib.pages.review import review
from lib.pages.reviewed import reviewed
from lib.pages.sign_in import sign_in
from tests.docs.pages import ROOT
from tests.kit.html_page import HtmlPage
from tests.lib.pages.samples import ACTIONS, FIELDS, review_view

EVIL = """"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;"""
FROM_ELSEWHERE = ["src", "srcset", "style", "ping", "formaction", "background", "poster"]
PAGES = {
    "sign_in": sign_in(EVIL, "/auth/magic/t"),
    "refused": refused(EVIL, EVIL, 404),
    "approved": reviewed(EVIL, "approved"),
    "counted": reviewed(EVIL, "counted", votes=1, required=2),
    "rejected": reviewed(EVIL, "rejected"),
    "review": review(
        review_view(
            label=EVIL,
            preview=EVIL,
            voter=EVIL,
            fields=[*FIELDS, *(f.__class__(EVIL, f.type, EVIL, EVIL, EVIL) for f in FIELDS)],
        ),
        ACTIONS,
    ),
}
# Text on what it stands on, and the contrast that WCAG 2.2 (1.4.3, 1.4.11) wants.
CONTRASTS = [
    *((ink, under, 4.5) for ink in ("ink", "quiet", "link") for under in ("paper", "sheet")),
    *((ink, "alert", 4.5) for ink in ("ink", "link")),
    ("problem", "paper", 4.5),
    ("on-action", "action", 4.5),
    ("action", "paper", 3),
    ("line", "paper", 3),
    ("line", "sheet", 3),
]


@pytest.mark.parametrize("made", PAGES.values(), ids=PAGES)
def test_a_page_is_whole_and_what_it_is_given_stays_text(made: page.Page) -> None:
    html = HtmlPage(made.body)

    assert EVIL in html.text
    assert {"script", "img", "link", "iframe", "object", "base"} & {
        each.tag for each in html.elements
    } == set()
    for each in html.elements:
        assert not any(name.startswith("on") for name in each.attributes)
        assert not each.attributes.keys() & set(FROM_ELSEWHERE)
    assert html.all("html")[0].attributes["lang"] == "en"
    assert len(html.all("h1")) == len(html.all("main")) == len(html.all("title")) == 1


@pytest.mark.parametrize("made", PAGES.values(), ids=PAGES)
def test_only_the_one_style_sheet_is_allowed(made: page.Page) -> None:
    (style,) = HtmlPage(made.body).all("style")
    digest = base64.b64encode(hashlib.sha256(style.text.encode()).digest()).decode()

    assert made.headers == {
        "content-security-policy": f"default-src 'none'; style-src 'sha256-{digest}'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        "cache-control": "no-store",
        "referrer-policy": "strict-origin",
    }


def test_a_page_has_its_status() -> None:
    assert [PAGES[name].status for name in ("sign_in", "refused")] == [200, 404]


def test_the_button_posts_to_the_link() -> None:
    (form,) = HtmlPage(PAGES["sign_in"].body).forms

    assert (form.method, form.action, form.values) == ("post", "/auth/magic/t", {})


def test_what_was_recorded_is_said() -> None:
    counted = HtmlPage(reviewed("Send?", "counted", votes=1, required=3).body).text

    assert "1 of 3 votes are in" in counted
    assert "Approved" in HtmlPage(reviewed("Send?", "approved").body).text
    assert "Nothing is done." in HtmlPage(reviewed("Send?", "rejected").body).text


def test_half_a_surrogate_pair_does_not_break_a_page() -> None:
    assert "a?b" in HtmlPage(refused("No", "a\ud800b", 404).body).text


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        page.render("sign_in.html", account="ada")


def test_nothing_heavy_is_imported_before_a_page_is_made() -> None:
    script = (
        "import sys, lib.pages.sign_in, lib.pages.refused, lib.pages.review, lib.pages.reviewed\n"
        "print(sorted({'jinja2', 'markdown_it', 'markupsafe'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("ink", "under", "wanted"), CONTRASTS)
def test_contrast_is_enough(scheme: str, ink: str, under: str, wanted: float) -> None:
    colours = colours_of(scheme)
    one, other = sorted(luminance(colours[name]) for name in (ink, under))

    assert (other + 0.05) / (one + 0.05) >= wanted


def colours_of(scheme: str) -> dict[str, str]:
    light, dark = page.style().split("@media (prefers-color-scheme: dark)")
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", light if scheme == "light" else dark))


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts
    ]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
