"""text-report: figures of a pasted text."""

from __future__ import annotations

import json
import time

import pytest

ENGLISH = (
    "The cat sat on the mat. The dog, which was old, looked at the cat for a very long time! "
    "Dr. Smith paid $3.50, e.g. for milk.\n\nWas that all? It was."
)


@pytest.fixture
def report(launcher):
    def run(text, **options):
        done = launcher("text-report")({"text": text, **options})
        assert done.outputs["report"] == "out/report.md"
        return done, json.loads(done.text("out/report.json"))

    return run


def test_counts_words_sentences_and_paragraphs(report):
    done, figures = report(ENGLISH, words_per_minute=22)

    assert figures["words"] == 33
    assert figures["sentences"] == 5
    assert figures["paragraphs"] == 2
    assert figures["language"] == "en"
    assert {key: done.outputs[key] for key in ("words", "sentences", "reading_minutes")} == {
        "words": 33,
        "sentences": 5,
        "reading_minutes": 1.5,
    }


def test_keywords_leave_stop_words_out(report):
    _, figures = report(ENGLISH, keywords=2)

    assert figures["keywords"] == [{"word": "cat", "count": 2}, {"word": "dog", "count": 1}]


def test_longest_sentences_come_first(report):
    _, figures = report(ENGLISH)

    assert figures["longest_sentences"][0] == {
        "words": 14,
        "text": "The dog, which was old, looked at the cat for a very long time!",
    }


def test_harder_text_has_a_lower_figure(report, tmp_path):
    _, easy = report("The cat sat on the mat. It was a good day for the cat.")
    launch_folder = tmp_path / "work"
    launch_folder.rename(tmp_path / "first")
    _, hard = report(
        "The institutional implementation of interdisciplinary methodologies necessitates "
        "considerable organisational reconsideration of the established administrative processes."
    )

    assert easy["reading_ease"] > 90 > 20 > hard["reading_ease"]
    assert hard["reading_ease_label"] == "very hard"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Der Hund ist nicht im Haus, aber die Katze ist auch nicht da.", "de"),
        ("Le chat est dans la maison, mais il ne veut pas sortir avec nous.", "fr"),
        ("El perro no está en la casa, pero los gatos sí están con él.", "es"),
        ("Pies biega szybko przez zielone pole koło domu.", None),
    ],
)
def test_recognises_the_language(report, text, code):
    done, figures = report(text)

    assert figures["language"] == code
    assert ("reading_ease" in done.outputs) is (code is not None)


def test_scripts_without_spaces_count_a_word_per_character(report):
    _, figures = report("我是学生。你呢\uff1f")

    assert (figures["words"], figures["sentences"]) == (6, 2)


def test_one_word_is_enough(report):
    _, figures = report("Yes")

    assert (figures["words"], figures["sentences"], figures["paragraphs"]) == (1, 1, 1)


@pytest.mark.parametrize("text", ["", "   \n\t", "... !!! ???", "😀😀"])
def test_a_text_without_words_is_an_error(launcher, text):
    assert launcher("text-report")({"text": text}).error["code"] == "no_words"


def test_text_cannot_become_markup(report):
    done, _ = report(
        "<script>alert</script> [x](javascript:y) | a | `b` ![i](http://z)\n# head",
        title="# A | <b>title</b>",
    )

    page = done.text("out/report.md")
    assert page.startswith(r"# \# A \| \<b\>title\</b\>")
    assert "<script>" not in page
    assert "\n# head" not in page
    assert "[x](" not in page


def test_text_that_is_no_valid_unicode_is_survived(launcher):
    launch = launcher("text-report")
    launch.files["inputs.json"] = b'{"text": "half \\ud800 a character", "title": "\\udfff"}'

    assert launch({}).outputs["words"] == 3


@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000,
        "a." * 100_000,
        "a-" * 100_000,
        "\n \n" * 60_000 + "a",
        "." * 199_999 + "a",
        "\n" + " " * 199_998 + "a",
        "a'" * 100_000,
    ],
)
def test_hostile_text_takes_no_more_than_seconds(report, text):
    started = time.monotonic()

    report(text)

    assert time.monotonic() - started < 10
