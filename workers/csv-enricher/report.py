"""The Markdown summary and the SVG chart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from kinds import Derivation

MAX_DISTINCT = 10_000
MAX_BARS = 10
MAX_LABEL_CHARACTERS = 28
BAR_HEIGHT, GAP, TOP = 22, 8, 44
LABEL_WIDTH, COUNT_WIDTH, CHART_WIDTH = 220, 80, 640
SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img"
  viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">
<title>{title}</title>
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="{left}" y="26" font-size="16" fill="#1f2937">{title}</text>
{bars}
</svg>
"""
BAR = """\
<text x="{label_x}" y="{baseline}" text-anchor="end" fill="#374151">{label}</text>
<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="3" fill="#2563eb"/>
<text x="{count_x}" y="{baseline}" fill="#374151">{count}</text>"""
NOT_XML = re.compile("[^\\t\\n\\r\\u0020-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")


@dataclass
class Tally:
    """How often each derived value occurs; memory stays bounded.

    Attributes:
        counts: The first `MAX_DISTINCT` different values.
        other: Occurrences of values beyond those.
        not_understood: Filled cells that gave no value.
        empty: Cells with nothing in them.
    """

    counts: Counter[str] = field(default_factory=Counter)
    other: int = 0
    not_understood: int = 0
    empty: int = 0

    def add(self, value: str) -> None:
        if value in self.counts or len(self.counts) < MAX_DISTINCT:
            self.counts[value] += 1
        else:
            self.other += 1

    def top(self) -> list[tuple[str, int]]:
        """Return the most frequent values, then the rest as one line."""
        common = self.counts.most_common(MAX_BARS)
        rest = self.counts.total() + self.other - sum(count for _, count in common)
        return [*common, ("all others", rest)] if rest else common


def markdown(
    header: Sequence[str],
    derivations: Sequence[Derivation],
    tallies: Sequence[Tally],
    facts: Mapping[str, object],
) -> str:
    """Return the summary: what was read, what was added, what each column holds."""
    lines = ["# CSV enrichment", "", "| | |", "|---|---|"]
    lines += [f"| {cell(name)} | {cell(str(value))} |" for name, value in facts.items()]
    for derivation, tally in zip(derivations, tallies, strict=True):
        lines += ["", f"## {cell(header[derivation.index])} ({derivation.kind})", ""]
        lines += [
            f"Empty cells: {tally.empty}. Not understood: {tally.not_understood}.",
            "",
            f"| {derivation.suffixes[derivation.charted]} | rows |",
            "|---|---:|",
        ]
        lines += [f"| {cell(value)} | {count} |" for value, count in tally.top()]
    return "\n".join([*lines, ""])


def cell(text: str) -> str:
    """Return text that cannot leave a Markdown table cell or become markup."""
    flat = re.sub(r"\s+", " ", text.strip())[:200]
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~&])", r"\\\1", flat)


def chart(title: str, bars: Sequence[tuple[str, int]]) -> str:
    """Return a horizontal bar chart as a standalone SVG document with no script."""
    height = TOP + len(bars) * (BAR_HEIGHT + GAP) + GAP
    longest = max((count for _, count in bars), default=0) or 1
    drawn = [
        bar(TOP + place * (BAR_HEIGHT + GAP), label, count, share=count / longest)
        for place, (label, count) in enumerate(bars)
    ]
    return SVG.format(
        width=CHART_WIDTH, height=height, title=xml(title), left=GAP, bars="\n".join(drawn)
    )


def bar(y: int, label: str, count: int, *, share: float) -> str:
    """Return one bar with its label on the left and its count on the right."""
    width = max(1, round((CHART_WIDTH - LABEL_WIDTH - COUNT_WIDTH) * share))
    return BAR.format(
        label_x=LABEL_WIDTH - GAP,
        x=LABEL_WIDTH,
        y=y,
        baseline=y + BAR_HEIGHT - 6,
        width=width,
        height=BAR_HEIGHT,
        label=xml(label),
        count_x=LABEL_WIDTH + width + 6,
        count=count,
    )


def xml(text: str) -> str:
    """Return text for an SVG element, shortened, without what XML 1.0 cannot hold."""
    flat = NOT_XML.sub("\ufffd", re.sub(r"\s+", " ", text.strip()))
    short = flat if len(flat) <= MAX_LABEL_CHARACTERS else f"{flat[: MAX_LABEL_CHARACTERS - 1]}…"
    return escape(short)
