"""Measure a text and write the figures as Markdown and as JSON."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from language import LANGUAGES, Language, detect, syllables

REPORT, DATA = Path("out/report.md"), Path("out/report.json")
SHOWN_CHARACTERS = 300
LONGEST_SENTENCES = 3
MIN_KEYWORD_CHARACTERS = 3
# A word is letters and digits, with apostrophes, hyphens and decimal signs inside; scripts that
# are written without spaces count one word per character.
CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
WORD = re.compile(rf"[{CJK}]|[^\W_{CJK}]+(?:(?:['\u2019-]|(?<=\d)[.,](?=\d))[^\W_{CJK}]+)*")
PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
SENTENCE_END = re.compile(r"(?:[.!?…][\"'\u201d\u2019»)\]]{0,3}(?=\s)|[\u3002\uff01\uff1f])")
ABBREVIATED = (
    "approx bzw ca d.h dr e.g etc fig i.e mme mr mrs ms nr p.ej prof sr sra st usw vgl vol vs z.b"
)
ABBREVIATIONS = frozenset(ABBREVIATED.split())
EASE = ((90, "very easy"), (70, "easy"), (60, "plain"), (50, "fairly hard"), (30, "hard"))


def main() -> None:
    """Measure, write both files, and write the outcome to `result.json`."""
    inputs = json.loads(Path("inputs.json").read_bytes())
    figures = measure(inputs)
    if figures is None:
        print("The text has no words", file=sys.stderr)
        error = {"message": "The text has no words.", "detail": "Paste some text as `text`."}
        finish({"status": "error", "error": error, "error_code": "no_words"})
        return
    DATA.write_text(json.dumps(figures, indent=2) + "\n", encoding="ascii")
    REPORT.write_text(markdown(figures), encoding="utf-8", errors="replace")
    print(f"Measured {figures['words']} words in {figures['sentences']} sentences")
    scalars = ("words", "sentences", "reading_minutes", "reading_ease")
    outputs = {"report": str(REPORT), "data": str(DATA)}
    outputs |= {name: figures[name] for name in scalars if figures[name] is not None}
    finish({"status": "success", "outputs": outputs})


def finish(result: Mapping[str, Any]) -> None:
    Path("result.json").write_text(json.dumps(result), encoding="ascii")


def measure(inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return every figure of the report, or None for a text without words."""
    text = inputs["text"].replace("\r\n", "\n").replace("\r", "\n")
    words = [word.lower().replace("\u2019", "'") for word in WORD.findall(text)]
    if not words:
        return None
    sentences = split_sentences(text)
    code = inputs.get("language") or "auto"
    language = detect(words) if code == "auto" else LANGUAGES.get(code)
    ease = reading_ease(words, len(sentences), language)
    return {
        "title": inputs.get("title") or "Text report",
        "language": language.code if language else None,
        "characters": len(text),
        "paragraphs": sum(bool(WORD.search(part)) for part in PARAGRAPH.split(text)),
        "sentences": len(sentences),
        "words": len(words),
        "different_words": len(set(words)),
        "words_per_sentence": round(len(words) / len(sentences), 1),
        "reading_minutes": round(len(words) / (inputs.get("words_per_minute") or 220), 1),
        "reading_ease": ease,
        "reading_ease_label": ease_label(ease),
        "keywords": keywords(words, language, inputs.get("keywords") or 10),
        "longest_sentences": longest(sentences),
    }


def split_sentences(text: str) -> list[str]:
    """Split at sentence ends and blank lines; known abbreviations do not end one."""
    sentences = []
    for paragraph in PARAGRAPH.split(text):
        start = 0
        for match in SENTENCE_END.finditer(paragraph):
            if not _is_abbreviation(paragraph, match.start()):
                sentences.append(paragraph[start : match.end()])
                start = match.end()
        sentences.append(paragraph[start:])
    return [" ".join(part.split()) for part in sentences if WORD.search(part)]


def _is_abbreviation(text: str, end: int) -> bool:
    """Tell whether the full stop at `end` closes an abbreviation or an initial."""
    if text[end] != ".":
        return False
    words = text[max(0, end - 12) : end].split()
    last = words[-1].lower().lstrip("(\"'„“«") if words else ""
    initial = len(last) == 1 and text[end - 1].isupper() and last != "i"
    return last in ABBREVIATIONS or initial


def reading_ease(words: Sequence[str], sentences: int, language: Language | None) -> float | None:
    """Return the language's readability figure, or None without a formula for it."""
    if language is None:
        return None
    total = sum(syllables(word, language.code) for word in words)
    return round(language.reading_ease(len(words) / sentences, total / len(words)), 1)


def ease_label(ease: float | None) -> str | None:
    if ease is None:
        return None
    return next((label for least, label in EASE if ease >= least), "very hard")


def keywords(words: Sequence[str], language: Language | None, count: int) -> list[dict[str, Any]]:
    """Return the most frequent words that carry meaning; ties by alphabet."""
    stop = language.stop_words if language else frozenset()
    counts = Counter(
        word
        for word in words
        if len(word) >= MIN_KEYWORD_CHARACTERS and word not in stop and not word[0].isdigit()
    )
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"word": word, "count": found} for word, found in ordered[:count]]


def longest(sentences: Sequence[str]) -> list[dict[str, Any]]:
    counted = [(len(WORD.findall(sentence)), sentence) for sentence in sentences]
    counted.sort(key=lambda item: -item[0])
    return [
        {"words": words, "text": shorten(sentence)}
        for words, sentence in counted[:LONGEST_SENTENCES]
    ]


def shorten(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"


def markdown(figures: Mapping[str, Any]) -> str:
    """Return the report; words of the text cannot become markup."""
    ease = "not known for this language"
    if figures["reading_ease"] is not None:
        ease = f"{figures['reading_ease']} ({figures['reading_ease_label']})"
    rows = {
        "Words": f"{figures['words']}, {figures['different_words']} of them different",
        "Sentences": f"{figures['sentences']}, {figures['words_per_sentence']} words on average",
        "Paragraphs": figures["paragraphs"],
        "Characters": figures["characters"],
        "Language": figures["language"] or "not recognised",
        "Reading time": f"{figures['reading_minutes']} minutes",
        "Reading ease": ease,
    }
    lines = [f"# {plain(figures['title'])}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows.items()]
    lines += ["", "## Keywords", ""]
    lines += [f"- {plain(each['word'])}: {each['count']}" for each in figures["keywords"]]
    lines += ["", "## Longest sentences", ""]
    lines += [
        f"- {each['words']} words: {plain(each['text'])}" for each in figures["longest_sentences"]
    ]
    return "\n".join([*lines, ""])


def plain(text: str) -> str:
    """Escape what Markdown would read as markup."""
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~&$-])", r"\\\1", " ".join(text.split()))


if __name__ == "__main__":
    main()
