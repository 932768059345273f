"""Add columns to a CSV file; write it, a summary and a chart.

Rows are streamed: memory does not grow with the file.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import report
from kinds import Derivation, safe_cell
from plan import derived_names, plan
from report import Tally
from table import BadInput, Table, open_table

ENRICHED, REJECTED = Path("out/enriched.csv"), Path("out/rejected.csv")
SUMMARY, CHART = Path("out/summary.md"), Path("out/chart.svg")
SAMPLE = Path("sample.csv")
SAMPLE_ROWS, SAMPLE_CHARACTERS = 500, 4 * 1024 * 1024
PROGRESS_ROWS = 50_000


@dataclass
class Counts:
    """What happened to the rows."""

    rows: int = 0
    short: int = 0
    long: int = 0
    tallies: list[Tally] = field(default_factory=list)


def main() -> None:
    """Run, and write either outcome to `result.json`."""
    try:
        outputs = enrich(json.loads(Path("inputs.json").read_bytes()))
    except BadInput as ex:
        for partial in (ENRICHED, REJECTED):
            partial.unlink(missing_ok=True)
        print(f"Stopped: {ex}", file=sys.stderr)
        error = {"message": str(ex), "detail": ex.detail}
        finish({"status": "error", "error": error, "error_code": ex.code})
    else:
        finish({"status": "success", "outputs": outputs})


def finish(result: Mapping[str, Any]) -> None:
    Path("result.json").write_text(json.dumps(result), encoding="ascii")


def enrich(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Read the table, write the files and return the outputs."""
    table = open_table(source(inputs), inputs.get("delimiter") or "auto")
    sample = take_sample(table)
    if not sample:
        raise BadInput("no_rows", "The CSV file has a header but no rows.")
    derivations = plan(table.header, [row for _, row in sample], inputs)
    added = derived_names(table.header, derivations)
    print(f"Adding {', '.join(added)}")
    counts = write_rows(table, chain(sample, table.rows), derivations, added)
    write_reports(table, derivations, added, counts)
    return outputs_of(added, counts)


def source(inputs: Mapping[str, Any]) -> Path:
    if inputs.get("data"):
        return Path(inputs["data"])
    if inputs.get("use_sample"):
        print("No file given: using the sample that comes with the worker")
        return SAMPLE
    raise BadInput(
        "missing_file", "There is no CSV file.", "Give one as `data`, or set `use_sample`."
    )


def take_sample(table: Table) -> list[tuple[int, list[str]]]:
    """Return the first rows, fewer where they are long."""
    sample = []
    room = SAMPLE_CHARACTERS
    for line, row in islice(table.rows, SAMPLE_ROWS):
        sample.append((line, row))
        room -= sum(map(len, row))
        if room < 0:
            break
    return sample


def write_rows(
    table: Table,
    rows: Iterator[tuple[int, list[str]]],
    derivations: Sequence[Derivation],
    added: Sequence[str],
) -> Counts:
    """Write every row with its derived cells; set rows aside that are too long."""
    counts = Counts(tallies=[Tally() for _ in derivations])
    width = len(table.header)
    pairs = list(zip(derivations, counts.tallies, strict=True))
    with ENRICHED.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=table.delimiter, lineterminator="\n")
        writer.writerow([*table.header, *added])
        for row in fitting(rows, width, counts):
            for derivation, tally in pairs:
                row.extend(derived_cells(derivation, row, tally))
            writer.writerow(row)
            counts.rows += 1
            if counts.rows % PROGRESS_ROWS == 0:
                print(f"{counts.rows} rows")
    return counts


def fitting(
    rows: Iterator[tuple[int, list[str]]], width: int, counts: Counts
) -> Iterator[list[str]]:
    """Yield rows of exactly `width` cells: short ones filled, long ones set aside."""
    rejected = None
    try:
        for line, row in rows:
            if len(row) > width and any(row[width:]):
                counts.long += 1
                rejected = rejected or REJECTED.open("w", encoding="utf-8", newline="")
                csv.writer(rejected, lineterminator="\n").writerow([line, *row])
                continue
            if len(row) < width:
                counts.short += 1
                row.extend([""] * (width - len(row)))
            yield row[:width]
    finally:
        if rejected:
            rejected.close()


def derived_cells(derivation: Derivation, row: Sequence[str], tally: Tally) -> list[str]:
    text = row[derivation.index]
    if not text.strip():
        tally.empty += 1
        return [""] * len(derivation.suffixes)
    cells = derivation.derive(text)
    if cells is None:
        tally.not_understood += 1
        return [""] * len(derivation.suffixes)
    tally.add(cells[derivation.charted])
    return [safe_cell(cell) for cell in cells]


def write_reports(
    table: Table, derivations: Sequence[Derivation], added: Sequence[str], counts: Counts
) -> None:
    facts = {
        "Rows": counts.rows,
        "Short rows, filled with empty cells": counts.short,
        "Long rows, set aside in rejected.csv": counts.long,
        "Blank lines, left out": table.counts["blank"],
        "Encoding": table.encoding,
        "Delimiter": {"\t": "tab"}.get(table.delimiter, table.delimiter),
        "New columns": ", ".join(added),
    }
    if table.counts["quotes"] % 2:
        facts["Warning"] = "an odd number of double quotes: a quoted field may not be closed"
        print("The file has an odd number of double quotes", file=sys.stderr)
    SUMMARY.write_text(
        report.markdown(table.header, derivations, counts.tallies, facts), encoding="utf-8"
    )
    title = f"{table.header[derivations[0].index]}: {derivations[0].suffixes[0]}"
    CHART.write_text(
        report.chart(title, counts.tallies[0].counts.most_common(report.MAX_BARS)), encoding="utf-8"
    )


def outputs_of(added: Sequence[str], counts: Counts) -> dict[str, Any]:
    print(f"Done: {counts.rows} rows, {counts.short} short, {counts.long} long")
    return {
        "enriched": str(ENRICHED),
        "summary": str(SUMMARY),
        "chart": str(CHART),
        "rows": counts.rows,
        "ragged_rows": counts.short + counts.long,
        "columns_added": list(added),
    }


if __name__ == "__main__":
    main()
