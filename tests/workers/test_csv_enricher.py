"""csv-enricher: derived columns, at any size, from files as people have them."""

from __future__ import annotations

import csv
import io
import random
import sys
import time
from xml.etree import ElementTree as ET

import pytest

DATA = "inputs/data.csv"
MEMORY_KIB = 128 * 1024


@pytest.fixture
def enrich(launcher):
    """Run the worker on the bytes of a CSV file."""

    def run(content, **options):
        launch = launcher("csv-enricher")
        launch.files[DATA] = content if isinstance(content, bytes) else content.encode()
        return launch({"data": DATA, **options})

    return run


def rows_of(done, path="out/enriched.csv", delimiter=","):
    return list(csv.reader(io.StringIO(done.text(path), newline=""), delimiter=delimiter))


def test_enriches_the_sample_that_comes_with_it(launcher):
    done = launcher("csv-enricher")({"use_sample": True})

    assert done.outputs["rows"] == 10
    assert rows_of(done)[1][-5:] == [
        "analytical.example",
        "no",
        "Monday",
        "2024-Q1",
        "from 1000 to 10000",
    ]
    assert rows_of(done)[-1][-5:] == [""] * 5


def test_derives_from_addresses_dates_and_amounts(enrich):
    done = enrich("mail,day,total\nAda@GMAIL.com,2024-02-29,99.99\n")

    assert rows_of(done) == [
        [
            *("mail", "day", "total"),
            *("mail_domain", "mail_free_mail", "day_weekday", "day_quarter", "total_band"),
        ],
        [
            *("Ada@GMAIL.com", "2024-02-29", "99.99"),
            *("gmail.com", "yes", "Thursday", "2024-Q1", "below 100"),
        ],
    ]


@pytest.mark.parametrize(
    ("encoding", "delimiter"),
    [("utf-8", ";"), ("utf-8-sig", "\t"), ("utf-16", ","), ("cp1252", "|"), ("utf-8-sig", ";")],
)
def test_finds_encoding_and_delimiter(enrich, encoding, delimiter):
    lines = ["Käufer;Datum", '"Müller; ""Söhne""\nGmbH";31.12.2024', "Éric;01.01.2025"]
    text = "\r\n".join(lines).replace(";", delimiter)

    done = enrich(text.encode(encoding))

    assert rows_of(done, delimiter=delimiter) == [
        ["Käufer", "Datum", "Datum_weekday", "Datum_quarter"],
        [f'Müller{delimiter} "Söhne"\nGmbH', "31.12.2024", "Tuesday", "2024-Q4"],
        ["Éric", "01.01.2025", "Wednesday", "2025-Q1"],
    ]


def test_finds_the_delimiter_past_commas_in_text(enrich):
    done = enrich("name;mail;note\nA, B;a@b.example;x, y, z\nC, D;c@d.example;,\n")

    assert rows_of(done, delimiter=";")[2] == ["C, D", "c@d.example", ",", "d.example", "no"]


@pytest.mark.parametrize(
    ("written", "order", "quarter"),
    [
        ("03/04/2024", "auto", "2024-Q2"),
        ("03/04/2024", "month_first", "2024-Q1"),
        ("03/31/2024", "auto", "2024-Q1"),
        ("31/03/2024", "auto", "2024-Q1"),
        ("2024-05-01T23:59:59Z", "auto", "2024-Q2"),
        ("2024/5/1 10:00", "auto", "2024-Q2"),
    ],
)
def test_reads_dates_in_either_order(enrich, written, order, quarter):
    done = enrich(f"name,on\nA,{written}\n", date_order=order, date_columns="on")

    assert rows_of(done)[1][-1] == quarter


def test_does_not_invent_dates(enrich):
    done = enrich("name,on\nA,2023-02-29\nB,0000-01-01\nC,2024-13-01\n", date_columns="on")

    assert [row[-2:] for row in rows_of(done)[1:]] == [["", ""]] * 3
    assert "Not understood: 3" in done.text("out/summary.md")


@pytest.mark.parametrize(
    ("written", "decimal", "band"),
    [
        ("1.234,50 €", "auto", "from 1000 to 10000"),
        ("$1,234.50", "auto", "from 1000 to 10000"),
        ("-5.00", "auto", "below 100"),
        ("(12,345.00)", "auto", "below 100"),
        ("99,99", "auto", "below 100"),
        ("100", "point", "from 100 to 1000"),
        ("1'000'000.00", "auto", "10000 and more"),
        ("1\u00a0234,50", "auto", "from 1000 to 10000"),
        ("1,2,3", "point", ""),
        ("abc12", "point", ""),
        ("1e5", "point", ""),
        ("NaN", "point", ""),
    ],
)
def test_reads_amounts_as_people_write_them(enrich, written, decimal, band):
    done = enrich(f'name,sum\nA,"{written}"\n', amount_columns="sum", decimal=decimal)

    assert rows_of(done)[1][-1] == band


def test_bands_follow_the_limits_given(enrich):
    done = enrich("name,sum\nA,-1\nB,0\nC,49.99\nD,50\n", amount_bands="50, 0")

    assert [row[-1] for row in rows_of(done)[1:]] == [
        "below 0",
        "from 0 to 50",
        "from 0 to 50",
        "50 and more",
    ]


def test_ids_and_years_are_not_amounts(enrich):
    done = enrich("id,year,mail\n1,2023,a@b.example\n2,2024,c@d.example\n")

    assert done.outputs["columns_added"] == ["mail_domain", "mail_free_mail"]


def test_named_columns_take_precedence_and_none_switches_off(enrich):
    done = enrich(
        "mail,on,sum\na@b.example,2024-01-01,5\n",
        email_columns="none",
        date_columns="on",
        amount_columns="none",
    )

    assert done.outputs["columns_added"] == ["on_weekday", "on_quarter"]


def test_ragged_rows_are_counted_and_none_is_lost(enrich):
    done = enrich("name,mail\nshort\n\nA,a@b.example\nlong,l@b.example,extra,cells\n,,\n")

    assert done.outputs["rows"] == 2
    assert done.outputs["ragged_rows"] == 2
    assert rows_of(done)[1] == ["short", "", "", ""]
    assert rows_of(done, "out/rejected.csv") == [["5", "long", "l@b.example", "extra", "cells"]]
    assert "| Blank lines, left out | 2 |" in done.text("out/summary.md")


def test_new_names_do_not_clash_with_the_header(enrich):
    done = enrich("mail,mail_domain,\na@b.example,mine,x\n")

    assert rows_of(done)[0][2:] == ["column_3", "mail_domain_2", "mail_free_mail"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "|"])
def test_cells_it_creates_never_start_a_formula(enrich, start):
    header = f"{start}cmd|' /C calc'!A0"
    done = enrich(f'name,"{header}"\nA,a@b.example\nB,=x@evil.example\n', delimiter="comma")

    table = rows_of(done)
    created = [cell for row in table for cell in row[2:]]
    assert table[1][2] == "b.example"
    assert not [cell for cell in created if cell.startswith(("=", "+", "-", "@", "\t", "\r", "|"))]


def test_cells_of_the_file_are_kept_as_they_are(enrich):
    source = 'name,mail\n"=1+1",a@b.example\n"  spaces ","a@b.example"\n'

    done = enrich(source)

    assert [row[0] for row in rows_of(done)[1:]] == ["=1+1", "  spaces "]


def test_hostile_text_cannot_become_markup(enrich):
    header = "</text><script>alert(1)</script>|[x](javascript:1)\x01"
    done = enrich(f'name,"{header}"\nA,a@b.example\n')

    svg = ET.fromstring(done.text("out/chart.svg"))  # noqa: S314 - our own file
    assert {element.tag.rpartition("}")[2] for element in svg.iter()} == {
        "svg",
        "title",
        "rect",
        "text",
    }
    assert "<script>" not in done.text("out/summary.md")
    assert r"\[x\]\(" in done.text("out/summary.md")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b"\xef\xbb\xbf", "empty_file"),
        (b"\n\n \r\n", "empty_file"),
        (b",,,\n", "empty_file"),
        (b"name,mail\n", "no_rows"),
        (b"ada@b.example,2024-01-01\nbob@b.example,2024-01-02\n", "no_header"),
        (b"1,2,3\n4,5,6\n", "no_header"),
        (b"PK\x03\x04\x00\x00\x00\x00", "not_text"),
        (b"name,city\nA,B\n", "nothing_to_enrich"),
        (b'name,mail\n"' + b"x" * 2_000_000, "not_csv"),
        (b"name,mail\n" + b"x" * 5_000_000, "not_csv"),
        (b",".join(b"c%d" % at for at in range(3_000)) + b"\n", "not_csv"),
    ],
)
def test_bad_files_end_with_a_clear_error(enrich, content, code):
    done = enrich(content)

    assert done.error["code"] == code
    assert list((done.folder / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"email_columns": "nowhere"}, "unknown_column"),
        ({"amount_bands": "a,b"}, "bad_option"),
        ({"amount_bands": "NaN"}, "bad_option"),
        ({"amount_bands": "1e400"}, "bad_option"),
        ({"amount_bands": ","}, "bad_option"),
        ({"data": None}, "missing_file"),
        ({"data": "inputs/elsewhere.csv"}, "missing_file"),
    ],
)
def test_bad_options_end_with_a_clear_error(launcher, options, code):
    launch = launcher("csv-enricher")
    launch.files[DATA] = b"name,mail\nA,a@b.example\n"

    assert launch({"data": DATA, **options}).error["code"] == code


def test_an_unclosed_quote_is_warned_about(enrich):
    done = enrich('name,mail\nA,a@b.example\n"B,c@d.example\nC,e@f.example\n')

    assert "a quoted field may not be closed" in done.text("out/summary.md")


# Starts a command and then reports the peak memory of its process, in KiB.
MEASURE = (
    "import resource, subprocess, sys;"
    "code = subprocess.run(sys.argv[1:]).returncode;"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr);"
    "sys.exit(code)"
)


def test_rows_of_absurd_size_stay_within_memory(launcher):
    """Wide characters make four bytes of each character, so sizes count four times."""
    launch = launcher("csv-enricher")
    row = ('"' + "x" * 500_000 + '😀"\n') * 2
    launch.files[DATA] = ("name,mail\n" + row * 50).encode()

    done = launch({"data": DATA, "email_columns": "mail"}, prefix=(sys.executable, "-c", MEASURE))

    assert done.outputs["rows"] == 100
    assert int(done.stderr.splitlines()[-1]) < MEMORY_KIB


def test_a_row_without_end_is_refused(enrich):
    endless = ('"' + "x" * 900_000 + "\n" + '",') * 20

    assert enrich("name,mail\n" + endless).error["code"] == "not_csv"


def large_table(rows):
    """A CSV with quotes, line breaks in fields and several scripts."""
    rng = random.Random(7)
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(["Kunde", "E-Mail", "Datum", "Betrag", "Notiz"])
    for at in range(rows):
        writer.writerow(
            [
                f'Müller "{at}"',
                f"user{at}@d{at % 20_000}.example",
                f"{at % 28 + 1:02d}.{at % 12 + 1:02d}.{2000 + at % 25}",
                f"{rng.randint(1, 9)}.{at % 1000:03d},{at % 100:02d} €",
                f'sagte "ja"\r\nzweite; Zeile 漢字 😀 {"x" * rng.randint(0, 60)}',
            ]
        )
    return text.getvalue()


def test_a_hundred_thousand_rows_stream_within_memory_and_seconds(launcher):
    """512 MiB is the worker's limit; a stream needs a fraction of it."""
    launch = launcher("csv-enricher")
    launch.files[DATA] = large_table(100_000).encode("utf-8-sig")

    started = time.monotonic()
    done = launch({"data": DATA}, prefix=(sys.executable, "-c", MEASURE))
    seconds = time.monotonic() - started

    assert done.outputs["rows"] == 100_000
    assert done.outputs["ragged_rows"] == 0
    assert int(done.stderr.splitlines()[-1]) < MEMORY_KIB
    assert seconds < 20
    last = rows_of(done, delimiter=";")[-1]
    assert last[0] == 'Müller "99999"'
    assert last[4].startswith('sagte "ja"\r\nzweite; Zeile 漢字 😀')
    assert last[5:] == ["d19999.example", "no", "Friday", "2024-Q2", "from 1000 to 10000"]
