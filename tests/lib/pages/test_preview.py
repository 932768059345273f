"""Previews: right for what is meant well, harmless for what is not, never endless."""

from __future__ import annotations

import json
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.pages import preview as module
from lib.pages.preview import preview
from tests.kit.html_page import HtmlPage

TYPES = ["text", "markdown", "json", "csv", "email", "unheard-of"]
NOTHING: set[str] = set()
ALLOWED = {
    **dict.fromkeys(["p", "h3", "h4", "h5", "h6", "hr", "em", "strong", "br", "code"], NOTHING),
    **dict.fromkeys(["ul", "li", "blockquote", "dl", "dt", "dd"], NOTHING),
    **dict.fromkeys(["table", "thead", "tbody", "tr", "td"], NOTHING),
    "pre": {"class"},
    "ol": {"start"},
    "a": {"href", "rel", "target"},
    "th": {"scope"},
}
# What hostile text is made of, so that it often gets near to being HTML or Markdown.
PIECES = st.sampled_from([
    "<", ">", '"', "'", "&", "&lt;", "&#x3c;", "</pre>", "<script>", "<img src=x onerror=y>", "<!--",
    "]]>", "<svg/onload=a>", "[", "](", ")", "![", "javascript:a", "JaVaScRiPt:a", "data:text/html,a",
    "https://a.example/", "mailto:a@b.example", "//a.example", "vbscript:a", "file:///a", "\\", "`",
    "```", "~~~", "*", "**", "_", "#", "##", "- ", "1. ", "> ", "|", "|-|-|", "---", "\n", "\n\n",
    "    ", "\t", "\r", ",", ";", '"', '""', "From: ", "Subject: ", "{", "}", ":", "[a]: ", "\0",
    "\u202e", "a", "b c", "é", "\ud800",
])  # fmt: skip
HOSTILE = st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join)


@settings(deadline=None)  # the first pages take their time: imports, templates
@given(HOSTILE, st.sampled_from(TYPES))
def test_no_tag_and_no_attribute_of_the_text_survives(text: str, preview_type: str) -> None:
    for each in HtmlPage(preview(text, preview_type).html).elements:
        assert each.tag in ALLOWED
        assert each.attributes.keys() <= ALLOWED[each.tag]
        if each.tag == "a":
            assert (
                unescape(each.attributes["href"])
                .lower()
                .startswith(("https://", "http://", "mailto:"))
            )
            assert each.attributes["rel"] == "noopener nofollow noreferrer"
        if each.tag == "pre":
            assert each.attributes.get("class", "prose") == "prose"
        if each.tag == "ol":
            assert each.attributes.get("start", "1").isdigit()


@settings(deadline=None)  # the first pages take their time: imports, templates
@given(st.text())
def test_text_is_shown_as_it_is(text: str) -> None:
    (shown,) = HtmlPage(preview(text, "text").html).all("pre")

    assert shown.text.removeprefix("\n") == text.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize("preview_type", TYPES)
@pytest.mark.parametrize("text", ["", "\n", " ", "\ufeff", "a\r\nb", "x" * 300])
def test_any_text_has_a_preview_of_any_type(text: str, preview_type: str) -> None:
    HtmlPage(preview(text, preview_type).html)


@pytest.mark.parametrize("preview_type", TYPES)
@pytest.mark.parametrize("unit", ["a,b\n", "<", "* ", "[a](", "> ", "{", "From: a\n", '"'])
def test_what_is_huge_is_cut_and_says_so(preview_type: str, unit: str) -> None:
    found = preview(unit * (1_000_000 // len(unit)), preview_type)

    assert len(found.html) < 1_000_000
    assert found.note.startswith("Only the first ") or "nested too deeply" in found.note


def test_markdown_is_rendered_below_the_headings_of_the_page() -> None:
    html = HtmlPage(preview("# One\n\n###### Six\n\n- *a*\n- **b** `c`\n", "markdown").html)

    assert [each.tag for each in html.elements] == [
        "h3",
        "h6",
        "ul",
        "li",
        "em",
        "li",
        "strong",
        "code",
    ]


def test_a_link_leads_out_and_takes_nothing_along() -> None:
    (link,) = HtmlPage(preview('[a](https://b.example/?c&d "title")', "markdown").html).all("a")

    assert link.attributes == {
        "href": "https://b.example/?c&d",
        "rel": "noopener nofollow noreferrer",
        "target": "_blank",
    }


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)", "JAVASCRIPT:alert(1)", "&#106;avascript:alert(1)", "data:text/html,x",
        "vbscript:x", "file:///etc/passwd", "//b.example", "/auth/logout", "#a", "ftp://b.example",
        "https:b.example",
    ],
)  # fmt: skip
def test_other_addresses_are_no_links(address: str) -> None:
    html = HtmlPage(
        preview(f"[a]({address}) <{address}>\n\n[b]\n\n[b]: {address}", "markdown").html
    )

    assert html.all("a") == []


def test_an_image_is_its_alternative_text() -> None:
    html = HtmlPage(preview("![a *cat* <b>](https://b.example/cat.png)", "markdown").html)

    assert [each.tag for each in html.elements] == ["p"]
    assert html.text.strip() == "a cat <b>"


def test_raw_html_in_markdown_is_text() -> None:
    html = HtmlPage(preview("<b>x</b>\n\n<div>\ny\n</div>\n", "markdown").html)

    assert [each.tag for each in html.elements] == ["p", "p"]
    assert "<b>x</b>" in html.text


@pytest.mark.parametrize("mark", ["> ", "- a\n", "1. "])
def test_markdown_that_the_parser_would_drop_is_shown_as_text(mark: str) -> None:
    deep = "".join("  " * level + "- a\n" for level in range(60)) if "\n" in mark else mark * 60
    found = preview(f"{deep}pay Mallory", "markdown")

    assert "pay Mallory" in found.html
    assert "nested too deeply" in found.note


def test_json_is_indented() -> None:
    (shown,) = HtmlPage(preview('{"b":[1,"ü"],"a":null}', "json").html).all("pre")

    assert shown.text == '\n{\n  "b": [\n    1,\n    "ü"\n  ],\n  "a": null\n}'


@pytest.mark.parametrize("text", ["{", '{"a": 1, "a": 2}', "NaN", "[" * 90_000, "1" * 9_000])
def test_what_is_not_json_is_shown_as_text_with_the_reason(text: str) -> None:
    found = preview(text, "json")

    assert found.html == preview(text, "text").html
    assert found.note.startswith("This is shown as text, as it is not valid JSON: ")


@settings(deadline=None)  # the first pages take their time: imports, templates
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=9))
def test_json_keeps_its_value(value: object) -> None:
    (shown,) = HtmlPage(preview(json.dumps(value), "json").html).all("pre")

    assert json.loads(shown.text) == value


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_is_a_table_with_its_first_row_as_head(delimiter: str) -> None:
    text = f'name{delimiter}score\r\nAda{delimiter}"1\n2"\r\n\r\nBo\r\n'
    html = HtmlPage(preview(text, "csv").html)

    assert [each.text for each in html.all("th")] == ["name", "score"]
    assert [each.text for each in html.all("td")] == ["Ada", "1\n2", "Bo", ""]


def test_a_large_table_says_what_is_left_out() -> None:
    row = ",".join(f"c{number}" for number in range(40))
    found = preview("\n".join([row] * 131), "csv")
    html = HtmlPage(found.html)

    assert (len(html.all("tr")), len(html.all("th"))) == (101, 30)
    assert found.note == (
        "Only the first 100 of 130 rows are shown. Only the first 30 of 40 columns are shown."
    )


@pytest.mark.parametrize("text", ['a,"b', 'a,"b"c', "x" * 140_000])
def test_what_is_not_csv_is_shown_as_text(text: str) -> None:
    found = preview(text, "csv")

    assert found.html == preview(text, "text").html
    assert found.note


def test_an_email_has_its_headers_as_a_list() -> None:
    text = "From: Ada <a@b.example>\nX-Odd: 1\nSubject: one\n two\n\nDear Bo,\n\nbye"
    html = HtmlPage(preview(text, "email").html)

    assert [each.text for each in html.all("dt")] == ["From", "X-Odd", "Subject"]
    assert [each.text for each in html.all("dd")] == ["Ada <a@b.example>", "1", "one two"]
    assert html.all("pre")[0].text == "\nDear Bo,\n\nbye"


@pytest.mark.parametrize(
    "text", ["Dear Ada,\n\nhello", "Note: this is no header\n\nhello", "\nTo: a"]
)
def test_an_email_without_headers_is_its_text(text: str) -> None:
    html = HtmlPage(preview(text, "email").html)

    assert html.all("dl") == []
    assert html.all("pre")[0].text == f"\n{text}"


@settings(deadline=None)  # the first pages take their time: imports, templates
@given(HOSTILE)
def test_nothing_of_an_email_is_lost(text: str) -> None:
    shown = HtmlPage(preview(text, "email").html).text

    assert set("".join(text.split())) <= {*shown, ":"}


def test_every_type_of_a_worker_is_known() -> None:
    from typing import get_args

    from lib.storage.approval_records import PreviewType

    assert set(module._BY_TYPE) == set(get_args(PreviewType))
