"""What a column holds, and the cells that can be derived from it."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise

CACHED_VALUES = 8192
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
MAX_CELL_CHARACTERS = 320  # an e-mail address is at most 254, RFC 5321 section 4.5.3.1
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# Well known providers, not all there are.
FREE_MAIL_DOMAINS = (
    "aol.com free.fr freenet.de fastmail.com gmail.com gmx.at gmx.ch gmx.com gmx.de gmx.net "
    "googlemail.com hey.com hotmail.com hotmail.de hotmail.fr icloud.com laposte.net libero.it "
    "live.com mac.com mail.com mail.ru me.com msn.com naver.com orange.fr outlook.com outlook.de "
    "posteo.de proton.me protonmail.com qq.com rediffmail.com seznam.cz t-online.de tutanota.com "
    "uol.com.br web.de wp.pl yahoo.co.uk yahoo.com yahoo.de yahoo.fr yandex.com yandex.ru ymail.com "
    "zoho.com 126.com 163.com"
)
FREE_MAIL = frozenset(FREE_MAIL_DOMAINS.split())
EMAIL = re.compile(r"[^\s@<>\"]{1,64}@((?:[^\W_][\w-]{0,62}\.)+[^\W\d_]{2,24})")
YEAR_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:[T ].{0,40})?", re.ASCII)
YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})(?:[T ,].{0,40})?", re.ASCII)
CURRENCY = r"(?:[$€£¥₹]|[A-Z]{3})?"
NUMBER = r"[\d.,'\u00a0\u202f ]{1,40}"
AMOUNT = re.compile(rf"([-+]?){CURRENCY}\s?([-+]?)({NUMBER}){CURRENCY}")
PLAIN_NUMBER = {
    "point": re.compile(r"(?:\d{1,3}(?:,\d{2,3})+|\d+)(?:\.\d*)?|\.\d+", re.ASCII),
    "comma": re.compile(r"(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d*)?|,\d+", re.ASCII),
}
AMOUNT_NAME = re.compile(
    r"amount|total|price|revenue|value|sum|cost|fee|salary|betrag|preis|umsatz|summe|montant|prix"
    r"|importe|precio",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Derivation:
    """Columns derived from one source column.

    Attributes:
        index: The source column's place, from 0.
        suffixes: One name ending per derived cell.
        derive: Cell text to derived cells, or None when it is not understood.
        charted: Which of the derived cells the report counts.
    """

    kind: str
    index: int
    suffixes: tuple[str, ...]
    derive: Callable[[str], tuple[str, ...] | None]
    charted: int


def safe_cell(text: str) -> str:
    """Return `text` so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def email_cells(text: str) -> tuple[str, ...] | None:
    """Return (domain, whether it belongs to a free-mail provider)."""
    text = text.strip()
    if len(text) > MAX_CELL_CHARACTERS:
        return None
    match = EMAIL.fullmatch(text)
    if match is None:
        return None
    domain = match[1].lower()
    return (domain, "yes" if domain in FREE_MAIL else "no")


def parse_date(text: str, *, month_first: bool) -> date | None:
    """Read a calendar date; a time after it is ignored."""
    text = text.strip()
    if len(text) > MAX_CELL_CHARACTERS:
        return None
    if match := YEAR_FIRST.fullmatch(text):
        return _date(int(match[1]), int(match[3]), int(match[4]))
    match = YEAR_LAST.fullmatch(text)
    if match is None:
        return None
    first, second, year = int(match[1]), int(match[3]), int(match[4])
    if month_first and match[2] != ".":  # 31.12.2024 is never month first
        first, second = second, first
    return _date(year, second, first)


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def date_deriver(*, month_first: bool) -> Callable[[str], tuple[str, ...] | None]:
    """Return a function from a date's text to (weekday, quarter)."""

    @lru_cache(maxsize=CACHED_VALUES)
    def derive(text: str) -> tuple[str, ...] | None:
        day = parse_date(text, month_first=month_first)
        if day is None:
            return None
        return (WEEKDAYS[day.weekday()], f"{day.year:04d}-Q{(day.month + 2) // 3}")

    return derive


def parse_amount(text: str, *, decimal: str) -> Decimal | None:
    """Read a number with grouping, a currency sign or accounting brackets.

    Args:
        text: The cell.
        decimal: `point` for 1,234.50 or `comma` for 1.234,50.
    """
    text = text.strip().replace("\u2212", "-")
    if len(text) > MAX_CELL_CHARACTERS:
        return None
    bracketed = text.startswith("(") and text.endswith(")")
    match = AMOUNT.fullmatch(text[1:-1] if bracketed else text)
    if match is None:
        return None
    digits = re.sub(r"['\u00a0\u202f ]", "", match[3])
    if PLAIN_NUMBER[decimal].fullmatch(digits) is None:
        return None
    grouping, point = (".", ",") if decimal == "comma" else (",", ".")
    value = Decimal(digits.replace(grouping, "").replace(point, "."))
    return -value if bracketed or "-" in match[1] + match[2] else value


def amount_deriver(
    limits: Sequence[Decimal], *, decimal: str
) -> Callable[[str], tuple[str, ...] | None]:
    """Return a function from an amount's text to (band,)."""
    labels = band_labels(limits)

    @lru_cache(maxsize=CACHED_VALUES)
    def derive(text: str) -> tuple[str, ...] | None:
        value = parse_amount(text, decimal=decimal)
        return None if value is None else (labels[bisect_right(limits, value)],)

    return derive


def band_labels(limits: Sequence[Decimal]) -> list[str]:
    """Name the bands between ascending limits; the lower limit belongs to a band."""
    names = [f"{limit.normalize():f}" for limit in limits]
    between = [f"from {low} to {high}" for low, high in pairwise(names)]
    return [f"below {names[0]}", *between, f"{names[-1]} and more"]
