"""Read a CSV file of unknown encoding and delimiter as a stream of rows."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
CHUNK_BYTES = 1024 * 1024
PEEK_BYTES = 64 * 1024
MAX_LINE_CHARACTERS = 4 * 1024 * 1024
MAX_FIELD_CHARACTERS = 1024 * 1024
MAX_ROW_CHARACTERS = 8 * 1024 * 1024
MAX_COLUMNS = 2_000
SNIFFED_ROWS = 100


class BadInput(Exception):
    """The input cannot be used.

    Attributes:
        code: Stable, snake_case.
        detail: What to change; may be empty.
    """

    def __init__(self, code: str, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail


@dataclass
class Table:
    """A CSV file whose header has been read.

    Attributes:
        header: Column names; blank ones are called `column_<n>`.
        rows: The rows after the header, blank ones left out, as they are.
        counts: Filled while `rows` is read: `blank` lines, `quotes` seen,
            `pending` characters of the row that is being read.
    """

    header: list[str]
    rows: Iterator[tuple[int, list[str]]]
    delimiter: str
    encoding: str
    counts: dict[str, int] = field(default_factory=lambda: {"blank": 0, "quotes": 0, "pending": 0})


def open_table(path: Path, delimiter_name: str) -> Table:
    """Find encoding and delimiter, read the header, return the rest as a stream.

    Raises:
        BadInput: not a file, empty, binary, or with no header row.
    """
    encoding = detect_encoding(path)
    delimiter = DELIMITERS.get(delimiter_name) or sniff_delimiter(path, encoding)
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    table = Table(header=[], rows=iter(()), delimiter=delimiter, encoding=encoding)
    table.rows = _rows(path, table)
    line, first = next(table.rows, (0, []))
    if not first:
        raise BadInput("empty_file", "The CSV file is empty.", "It needs a header and rows.")
    if len(first) > MAX_COLUMNS:
        raise BadInput("not_csv", f"Line {line} has more than {MAX_COLUMNS} columns.")
    table.header = [name.strip() or f"column_{at}" for at, name in enumerate(first, start=1)]
    return table


def detect_encoding(path: Path) -> str:
    """Return the encoding: a byte order mark decides, then valid UTF-8, else Windows-1252."""
    if not path.is_file():
        raise BadInput("missing_file", f"There is no file at {path}.")
    with path.open("rb") as file:
        start = file.read(PEEK_BYTES)
        for bom, encoding in BOMS.items():
            if start.startswith(bom):
                return encoding
        if b"\0" in start:
            raise BadInput("not_text", "The file is not text.", "Save the table as CSV first.")
        return "utf-8" if _is_utf8(start, file) else "cp1252"


def _is_utf8(start: bytes, file) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(start)
        while chunk := file.read(CHUNK_BYTES):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def sniff_delimiter(path: Path, encoding: str) -> str:
    """Return the delimiter under which the first rows agree best on their width.

    `csv.Sniffer` is not used: it takes a letter for a delimiter in a file with
    one column and gives up on quoted fields with line breaks.
    """
    with path.open(encoding=encoding, errors="replace", newline="") as file:
        sample = file.read(PEEK_BYTES)
    return max(DELIMITERS.values(), key=lambda delimiter: _agreement(sample, delimiter))


def _agreement(sample: str, delimiter: str) -> tuple[float, int]:
    reader = csv.reader(sample.splitlines(keepends=True), delimiter=delimiter)
    try:
        widths = [len(row) for row in islice(reader, SNIFFED_ROWS) if row]
    except csv.Error:
        return (0.0, 0)
    if not widths or widths[0] < 2:
        return (0.0, 0)
    return (widths.count(widths[0]) / len(widths), widths[0])


def _rows(path: Path, table: Table) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of each row that is not blank."""
    with path.open(encoding=table.encoding, errors="replace", newline="") as file:
        reader = csv.reader(_lines(file, table.counts), delimiter=table.delimiter)
        try:
            for row in reader:
                table.counts["pending"] = 0
                if any(map(str.strip, row)):
                    yield reader.line_num, row
                else:
                    table.counts["blank"] += 1
        except csv.Error as ex:
            raise BadInput(
                "not_csv",
                f"Line {reader.line_num} cannot be read: {ex}.",
                "A quoted field may not be closed.",
            ) from ex


def _lines(file, counts: dict[str, int]) -> Iterator[str]:
    """Yield lines; refuse lines and rows without end, so that memory stays bounded."""
    while line := file.readline(MAX_LINE_CHARACTERS):
        if len(line) == MAX_LINE_CHARACTERS:
            raise BadInput("not_csv", f"A line is longer than {MAX_LINE_CHARACTERS} characters.")
        counts["pending"] += len(line)
        if counts["pending"] > MAX_ROW_CHARACTERS:
            raise BadInput("not_csv", f"A row is longer than {MAX_ROW_CHARACTERS} characters.")
        counts["quotes"] += line.count('"')
        yield line
