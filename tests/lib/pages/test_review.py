"""The review page: what is shown, and what was typed is kept beside its problem."""

from __future__ import annotations

from lib.pages.forms import read_approval, read_rejection
from lib.pages.review import review
from lib.pages.review_view import Answers, ReviewField
from tests.kit.html_page import HtmlPage
from tests.lib.pages.samples import ACTIONS, FIELDS, SHA256, review_view


def page_of(answers: Answers | None = None, **changes: object) -> HtmlPage:
    return HtmlPage(review(review_view(**changes), ACTIONS, answers=answers or Answers()).body)


def test_it_says_what_who_when_and_until_when() -> None:
    text = page_of(voter="bo@example.org", votes=1, required=2).text

    for words in ["Send this mail?", "Dear Ada, ..."]:
        assert words in text
    assert "24 November 2026, 09:05 UTC" in text
    assert "27 November 2026, 09:05 UTC" in text
    assert "bo@example.org" in text
    assert "1 of 2" in text


def test_votes_and_voter_are_left_out_where_they_say_nothing() -> None:
    text = page_of().text

    assert "You vote as" not in text
    assert "Votes" not in text


def test_each_form_has_its_target_and_names_the_proposal() -> None:
    approve, reject = page_of().forms

    assert (approve.method, approve.action) == ("post", ACTIONS.approve)
    assert (reject.method, reject.action) == ("post", ACTIONS.reject)
    assert approve.values["proposal_sha256"] == reject.values["proposal_sha256"] == SHA256


def test_every_control_has_a_label_and_what_describes_it_is_there() -> None:
    html = page_of(Answers(problems={"to": "Write an address."}, reason_problem="Too long."))
    labels = {each.attributes["for"]: each.text for each in html.all("label")}
    controls = [*html.all("textarea"), *html.all("select"), *html.all("input")]
    visible = [each for each in controls if each.attributes.get("type") != "hidden"]

    assert len(visible) == 8
    for each in visible:
        assert labels[each.attributes["id"]]
        for key in each.attributes.get("aria-describedby", "").split():
            assert html.by_id(key).text
    ids = [each.attributes["id"] for each in html.elements if "id" in each.attributes]
    assert len(ids) == len(set(ids))


def test_a_problem_is_beside_its_field_and_above_with_what_was_typed() -> None:
    body = page_of().forms[0].encoded({"output-3": "lots", "output-1": "Dear Bo"})
    read = read_approval(body, FIELDS, SHA256)

    html = page_of(read.answers)

    field = html.by_id("output-3")
    assert field.attributes["value"] == "lots"
    assert field.attributes["aria-invalid"] == "true"
    assert html.by_id("output-3-problem").text == "Write a number, such as 42 or 0.5."
    assert field.attributes["aria-describedby"] == "output-3-problem"
    assert html.by_id("output-1").text == "Dear Bo"
    assert "aria-invalid" not in html.by_id("output-1").attributes
    (alert,) = (each for each in html.elements if each.attributes.get("role") == "alert")
    assert "Amount: Write a number" in alert.text
    assert [each.attributes["href"] for each in html.all("a")] == ["#output-3"]
    assert html.all("title")[0].text.startswith("Problem: ")


def test_a_reason_that_is_too_long_is_kept_beside_its_problem() -> None:
    body = page_of().forms[1].encoded({"reason": "\n" + "x" * 3_000})

    html = page_of(read_rejection(body, SHA256).answers)

    assert html.by_id("reason").text == "x" * 3_000
    assert "2,000 characters" in html.by_id("reason-problem").text
    assert html.by_id("reason").attributes["aria-describedby"] == "reason-help reason-problem"


def test_a_notice_stands_above() -> None:
    html = page_of(read_rejection(b"proposal_sha256=old&reason=no", SHA256).answers)

    (alert,) = (each for each in html.elements if each.attributes.get("role") == "alert")
    assert "has changed" in alert.text
    assert html.by_id("reason").text == "no"


def test_a_file_is_shown_and_cannot_be_changed() -> None:
    html = page_of()

    assert html.by_id("output-7").tag == "pre"
    assert html.by_id("output-7").text.strip() == "out/invoice.pdf"
    assert "output-7" not in html.forms[0].values


def test_what_holds_a_secret_cannot_be_changed() -> None:
    """Else its stars would be taken for what the person wrote."""
    html = page_of(fields=[ReviewField("note", "text", "key: ***", is_masked=True)])

    assert "It holds a secret, shown as ***" in html.text
    assert html.forms[0].values == {"proposal_sha256": SHA256}


def test_what_is_nested_too_deeply_says_so() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]

    assert "cannot be shown" in page_of(fields=[ReviewField("deep", "json", deep)]).text


def test_what_is_not_shown_is_counted() -> None:
    fields = [ReviewField(f"f{number}", "text", "x") for number in range(103)]

    assert "3 more outputs are proposed" in page_of(fields=fields).text


def test_a_huge_proposal_makes_no_huge_page() -> None:
    fields = [ReviewField(f"{number}" * 9_000, "text", "x" * 500_000) for number in range(100)]
    made = review(review_view(fields=fields, label="x" * 9_000, preview="x" * 900_000), ACTIONS)

    assert len(made.body) < 3_000_000
    assert "Only the beginning is shown." in HtmlPage(made.body).text


def test_without_outputs_and_preview_it_is_a_question_alone() -> None:
    html = page_of(fields=(), preview="")

    assert "There is nothing to edit." in html.text
    assert [each.text for each in html.all("h2")] == ["Proposed", "Or reject it"]
    assert html.forms[0].values == {"proposal_sha256": SHA256}


def test_the_status_is_the_caller_s() -> None:
    assert review(review_view(), ACTIONS, status=422).status == 422
