"""Decide from the header and the first rows which columns are enriched, and how."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import kinds
from kinds import Derivation
from table import BadInput

MIN_SHARE = 0.8  # of the filled cells that must be understood to recognise a column
MAX_BANDS = 20
LAST_SEPARATOR = re.compile(r"([.,])\d{1,2}\D*$", re.ASCII)
GROUPED = re.compile(r"\d([.,])\d{3}(?:[.,]\d{3})*([.,])\d", re.ASCII)
FIRST_TWO = re.compile(r"(\d{1,2})[-/](\d{1,2})[-/]\d{4}", re.ASCII)


def plan(
    header: Sequence[str], sample: Sequence[Sequence[str]], options: Mapping[str, Any]
) -> list[Derivation]:
    """Return the derivations, in column order.

    Raises:
        BadInput: the first row is data, an option is wrong, or nothing fits.
    """
    _refuse_data_as_header(header)
    limits = parse_limits(options.get("amount_bands") or "100,1000,10000")
    found: dict[int, Derivation] = {}
    for kind, option in (
        ("email", "email_columns"),
        ("date", "date_columns"),
        ("amount", "amount_columns"),
    ):
        wanted = _wanted(str(options.get(option) or "auto"), option, header)
        for index in range(len(header)) if wanted is None else wanted:
            values = _filled(sample, index)
            derivation = _derivation(kind, index, values, options, limits)
            if index not in found and (wanted is not None or _fits(derivation, values, header)):
                found[index] = derivation
    if not found:
        raise BadInput(
            "nothing_to_enrich",
            "No column holds e-mail addresses, dates or amounts.",
            "Name columns in email_columns, date_columns or amount_columns. "
            f"The file has: {', '.join(header)[:400]}.",
        )
    return [found[index] for index in sorted(found)]


def derived_names(header: Sequence[str], derivations: Sequence[Derivation]) -> list[str]:
    """Name the new columns after their source, without a name that is taken."""
    taken = set(header)
    names = []
    for derivation in derivations:
        for suffix in derivation.suffixes:
            base = name = kinds.safe_cell(f"{header[derivation.index]}_{suffix}")
            count = 1
            while name in taken:
                count += 1
                name = f"{base}_{count}"
            taken.add(name)
            names.append(name)
    return names


def parse_limits(text: str) -> list[Decimal]:
    """Read `100,1000` as ascending limits."""
    try:
        limits = sorted({Decimal(part.strip()) for part in text.split(",") if part.strip()})
    except InvalidOperation as ex:
        raise _bad_limits(text) from ex
    if not 1 <= len(limits) <= MAX_BANDS or not all(_is_plain(limit) for limit in limits):
        raise _bad_limits(text)
    return limits


def _is_plain(limit: Decimal) -> bool:
    return limit.is_finite() and abs(limit) < 10**15 and limit.as_tuple().exponent >= -6


def _bad_limits(text: str) -> BadInput:
    return BadInput(
        "bad_option",
        f"amount_bands is {text[:80]!r}, which is not a list of limits.",
        f"Write 1 to {MAX_BANDS} numbers with commas between them: 100,1000,10000.",
    )


def _refuse_data_as_header(header: Sequence[str]) -> None:
    """Refuse a first row that holds an address, or nothing but numbers and dates."""
    filled = [name for name in header if not name.startswith("column_")]
    data = [name for name in filled if _is_number_or_date(name)]
    address = next((name for name in filled if kinds.email_cells(name)), None)
    if address or (filled and len(data) == len(filled)):
        raise BadInput(
            "no_header",
            "The first row looks like data, not like column names.",
            "Add a row with the columns' names as the first line.",
        )


def _is_number_or_date(text: str) -> bool:
    return (
        kinds.parse_amount(text, decimal="point") is not None
        or kinds.parse_date(text, month_first=False) is not None
    )


def _wanted(text: str, option: str, header: Sequence[str]) -> list[int] | None:
    """Return the places of the columns named, or None to find them by content."""
    if text.strip().lower() == "auto":
        return None
    if text.strip().lower() == "none":
        return []
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in header]
    if unknown:
        raise BadInput(
            "unknown_column",
            f"{option} names {unknown[0][:80]!r}, which is not in the header.",
            f"The file has: {', '.join(header)[:400]}.",
        )
    return [header.index(name) for name in names]


def _filled(sample: Sequence[Sequence[str]], index: int) -> list[str]:
    return [row[index] for row in sample if index < len(row) and row[index].strip()]


def _derivation(
    kind: str,
    index: int,
    values: Sequence[str],
    options: Mapping[str, Any],
    limits: Sequence[Decimal],
) -> Derivation:
    if kind == "email":
        return Derivation(kind, index, ("domain", "free_mail"), kinds.email_cells, charted=0)
    if kind == "date":
        order = options.get("date_order") or "auto"
        month_first = is_month_first(values) if order == "auto" else order == "month_first"
        derive = kinds.date_deriver(month_first=month_first)
        return Derivation(kind, index, ("weekday", "quarter"), derive, charted=0)
    decimal = options.get("decimal") or "auto"
    decimal = decimal_of(values) if decimal == "auto" else decimal
    derive = kinds.amount_deriver(limits, decimal=decimal)
    return Derivation(kind, index, ("band",), derive, charted=0)


def _fits(derivation: Derivation, values: Sequence[str], header: Sequence[str]) -> bool:
    """Tell whether a column's content is recognised as this kind.

    A whole number may as well be an id, a year or a postcode: such a column
    counts as amounts only by its name.
    """
    if not values:
        return False
    understood = sum(derivation.derive(value) is not None for value in values)
    if understood < MIN_SHARE * len(values):
        return False
    if derivation.kind != "amount":
        return True
    named = kinds.AMOUNT_NAME.search(header[derivation.index]) is not None
    return named or any(LAST_SEPARATOR.search(value) for value in values)


def is_month_first(values: Sequence[str]) -> bool:
    """Tell 12/31/2024 from 31/12/2024; where both are possible, the day is first."""
    pairs = [(int(m[1]), int(m[2])) for value in values if (m := FIRST_TWO.match(value.strip()))]
    late_second = sum(second > 12 for _, second in pairs)
    late_first = sum(first > 12 for first, _ in pairs)
    return late_second > late_first


def decimal_of(values: Sequence[str]) -> str:
    """Return which of point and comma the values use before decimals; a tie is point."""
    score = 0
    for value in values:
        grouped = GROUPED.search(value)
        last = grouped[2] if grouped and grouped[1] != grouped[2] else None
        if last is None and (match := LAST_SEPARATOR.search(value)):
            last = match[1]
        score += {"comma": 1, "point": -1, None: 0}[{",": "comma", ".": "point"}.get(last or "")]
    return "comma" if score > 0 else "point"
