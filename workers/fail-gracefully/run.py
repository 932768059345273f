"""Fail in the way that is asked for, to show how each failure is recorded.

Every way gives up by itself after a while, so that the worker is harmless
where a limit does not hold.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REPORT = Path("out/report.txt")
MIB = 1024 * 1024
# Well beyond the limits in worker.yml: 5 s, 2 CPU seconds, 128 MiB, 16 MiB on disk.
SLEEP_SECONDS = 30
BUSY_SECONDS = 15
ALLOCATED_MIB = 512
WRITTEN_MIB = 64


def finish(result: Any) -> None:
    Path("result.json").write_text(json.dumps(result), encoding="ascii")


def succeed(**changed: Any) -> None:
    """Write a correct result, but for what is changed."""
    REPORT.write_text("Everything went well.\n", encoding="utf-8")
    finish({"status": "success", "outputs": {"answer": 42, "report": str(REPORT)} | changed})


def error_result(message: str) -> None:
    finish({"status": "error", "error": {"message": message, "detail": "Nothing is broken."}})


def error_with_code(message: str) -> None:
    finish({"status": "error", "error": message, "error_code": "asked_to_fail"})


def exception(message: str) -> None:
    raise RuntimeError(message)


def exit_code(message: str) -> None:
    print(message, file=sys.stderr)
    sys.exit(3)


def exit_code_with_result(message: str) -> None:
    error_result(message)
    sys.exit(3)


def missing_output(_message: str) -> None:
    REPORT.write_text("There is a report, but no answer.\n", encoding="utf-8")
    finish({"status": "success", "outputs": {"report": str(REPORT)}})


def wrong_type(_message: str) -> None:
    succeed(answer="forty-two")


def missing_file(_message: str) -> None:
    finish({"status": "success", "outputs": {"answer": 42}})


def empty_file(_message: str) -> None:
    succeed()
    REPORT.write_bytes(b"")


def outside_path(_message: str) -> None:
    succeed(report="../report.txt")


def unknown_status(_message: str) -> None:
    finish({"status": "excellent", "outputs": {}})


def bad_json(_message: str) -> None:
    Path("result.json").write_text('{"status": "success",', encoding="ascii")


def no_result(_message: str) -> None:
    REPORT.write_text("There is a report, but no result.json.\n", encoding="utf-8")


def timeout(_message: str) -> None:
    time.sleep(SLEEP_SECONDS)
    not_ended()


def cpu(_message: str) -> None:
    end = time.monotonic() + BUSY_SECONDS
    while time.monotonic() < end:
        pass
    not_ended()


def memory(_message: str) -> None:
    held = [b"x" * MIB for _ in range(ALLOCATED_MIB)]
    print(f"Holding {len(held)} MiB")
    not_ended()


def disk(_message: str) -> None:
    with Path("out/large.bin").open("wb") as file:
        for _ in range(WRITTEN_MIB):
            file.write(os.urandom(MIB))
            file.flush()
            time.sleep(0.02)
    not_ended()


def not_ended() -> None:
    finish({"status": "error", "error": "No limit ended this run.", "error_code": "not_ended"})


WAYS = {
    "none": lambda _message: succeed(),
    "error_result": error_result,
    "error_with_code": error_with_code,
    "exception": exception,
    "exit_code": exit_code,
    "exit_code_with_result": exit_code_with_result,
    "missing_output": missing_output,
    "wrong_type": wrong_type,
    "missing_file": missing_file,
    "empty_file": empty_file,
    "outside_path": outside_path,
    "unknown_status": unknown_status,
    "bad_json": bad_json,
    "no_result": no_result,
    "timeout": timeout,
    "cpu": cpu,
    "memory": memory,
    "disk": disk,
}


def main(inputs: Mapping[str, Any]) -> None:
    """Fail in the way that `how` names."""
    how = inputs["how"]
    print(f"About to fail: {how}", flush=True)
    WAYS[how](inputs.get("message") or "Failed as asked.")


if __name__ == "__main__":
    main(json.loads(Path("inputs.json").read_bytes()))
