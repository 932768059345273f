"""fail-gracefully: each way to fail leaves exactly what its table promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

WORKERS = Path(__file__).parents[2] / "workers"

FOLDER = WORKERS / "fail-gracefully"
WORKS = {"answer": 42, "report": "out/report.txt"}


@pytest.fixture
def fail(launcher):
    def run(how, **kwargs):
        return launcher("fail-gracefully")({"how": how, "message": "no\nluck"}, **kwargs)

    return run


def test_none_succeeds(fail):
    assert fail("none").outputs == WORKS


def test_error_result_carries_message_and_detail(fail):
    done = fail("error_result")

    assert done.exit_code == 0
    assert done.result["error"] == {"message": "no\nluck", "detail": "Nothing is broken."}


def test_error_with_code_carries_the_code(fail):
    result = fail("error_with_code").result

    assert (result["error"], result["error_code"]) == ("no\nluck", "asked_to_fail")


def test_exception_ends_with_a_traceback_and_no_result(fail):
    done = fail("exception")

    assert done.exit_code == 1
    assert "RuntimeError: no\nluck" in done.stderr
    assert not (done.folder / "result.json").exists()


def test_exit_code_has_its_message_on_stderr(fail):
    done = fail("exit_code")

    assert (done.exit_code, done.stderr) == (3, "no\nluck\n")


def test_exit_code_with_result_leaves_both(fail):
    done = fail("exit_code_with_result")

    assert done.exit_code == 3
    assert done.result["error"]["message"] == "no\nluck"


@pytest.mark.parametrize(
    ("how", "outputs"),
    [
        ("missing_output", {"report": "out/report.txt"}),
        ("wrong_type", {"answer": "forty-two", "report": "out/report.txt"}),
        ("missing_file", {"answer": 42}),
        ("empty_file", WORKS),
        ("outside_path", {"answer": 42, "report": "../report.txt"}),
    ],
)
def test_outputs_that_do_not_keep_the_contract(fail, how, outputs):
    assert fail(how).outputs == outputs


@pytest.mark.parametrize(
    ("how", "size"), [("missing_file", None), ("empty_file", 0), ("missing_output", 34)]
)
def test_the_report_file(fail, how, size):
    report = fail(how).folder / "out" / "report.txt"

    assert (report.stat().st_size if report.exists() else None) == size


def test_results_of_the_wrong_shape(fail):
    assert fail("unknown_status").result["status"] == "excellent"


def test_bad_json_is_no_json(fail):
    with pytest.raises(json.JSONDecodeError):
        _ = fail("bad_json").result


def test_no_result_writes_none(fail):
    assert not (fail("no_result").folder / "result.json").exists()


def test_timeout_outlasts_its_limit(fail):
    with pytest.raises(subprocess.TimeoutExpired):
        fail("timeout", deadline_seconds=6)


def limited(resource, value):
    """Return a command that sets a limit and becomes the command after it."""
    script = (
        "import os, resource, sys;"
        f"resource.setrlimit(resource.{resource}, ({value}, {value}));"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    return (sys.executable, "-c", script)


def test_cpu_is_ended_by_a_cpu_limit(fail):
    started = time.monotonic()

    done = fail("cpu", prefix=limited("RLIMIT_CPU", 1))

    assert done.exit_code < 0
    assert time.monotonic() - started < 15


def test_memory_ends_in_a_memory_error(fail):
    done = fail("memory", prefix=limited("RLIMIT_AS", 128 * 1024 * 1024))

    assert done.exit_code == 1
    assert "MemoryError" in done.stderr


def test_disk_ends_at_a_file_size_limit(fail):
    done = fail("disk", prefix=limited("RLIMIT_FSIZE", 16 * 1024 * 1024))

    assert done.exit_code != 0
    assert not (done.folder / "result.json").exists()


def test_a_limit_that_does_not_hold_is_reported(fail):
    assert fail("memory").result["error_code"] == "not_ended"


def test_every_choice_is_documented_and_works(launcher):
    """The select, the functions and the table of the manifest name the same ways."""
    manifest = yaml.safe_load((FOLDER / "worker.yml").read_text(encoding="utf-8"))
    choices = [option["value"] for option in manifest["exec"]["inputs"][0]["options"]]
    probe = "import json, run; print(json.dumps(list(run.WAYS)))"
    ways = subprocess.run(
        [sys.executable, "-B", "-c", probe],
        cwd=FOLDER,
        env={"PATH": os.defpath},
        capture_output=True,
        check=True,
    )
    table = manifest["long_description"].splitlines()
    documented = [
        line.split("`")[1] for line in table if line.startswith("| `") and "how" not in line[:8]
    ]

    assert choices == json.loads(ways.stdout) == documented
