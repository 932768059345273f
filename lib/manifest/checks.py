"""Rules that join several parts of a manifest."""

from __future__ import annotations

from collections.abc import Collection

from lib.manifest.connections import Connection
from lib.manifest.data import Map
from lib.manifest.document import WorkerDocument
from lib.manifest.locate import place_of
from lib.manifest.models import Manifest
from lib.manifest.report import Place, Report
from lib.manifest.triggers import ScheduleTrigger


def check_consistency(
    manifest: Manifest, document: WorkerDocument, written: Map, report: Report
) -> None:
    """Report what each part allows but all of them together do not."""
    _check_name(manifest, document, written, report)
    _check_approvals(manifest, written, report)
    _check_notify(manifest, written, report)
    _check_schedules(manifest, document, written, report)
    for index, connection in enumerate(manifest.connections):
        _check_tools(connection, place_of(written, "connections", index), report)


def check_runtime(
    manifest: Manifest, written: Map, runtimes: Collection[str], report: Report
) -> None:
    """Report a script whose runtime this host lacks."""
    if manifest.mode == "script" and manifest.runtime not in runtimes:
        message = f"This host has no {manifest.runtime}; runs fail until it is installed."
        report.notice(place_of(written, "exec", "runtime"), "runtime_missing", message)


def _check_name(manifest: Manifest, document: WorkerDocument, written: Map, report: Report) -> None:
    if document.name is not None and document.name != manifest.id:
        place = written.place_of("name")
        message = (
            f"`{place.path}` is {document.name}, but the folder is {manifest.id}, which counts."
        )
        report.warning(place, "name_mismatch", message)


def _check_approvals(manifest: Manifest, written: Map, report: Report) -> None:
    approvals = manifest.approvals
    if approvals is None:
        return
    place = place_of(written, "approvals", "on_expire")
    is_shared = bool(approvals.approvers) or approvals.required_approvals > 1
    if approvals.on_expire == "approve" and is_shared:
        message = (
            "`approvals.on_expire: approve` is allowed only without `approvers` and with one vote."
        )
        report.error(place, "unsafe_expiry", message)
    voters = len({approver.casefold() for approver in approvals.approvers})
    if 0 < voters < approvals.required_approvals:
        message = (
            f"`approvals.required_approvals` is {approvals.required_approvals}, but"
            f" `approvers` names only {voters}: the quorum cannot be met."
        )
        report.notice(
            place_of(written, "approvals", "required_approvals"), "quorum_unreachable", message
        )


def _check_notify(manifest: Manifest, written: Map, report: Report) -> None:
    notify = manifest.notify
    if notify is not None and not notify.url and not notify.email_to:
        message = "`notify` tells nobody; give it a `url` or `email_to`."
        report.error(written.place_of("notify"), "missing_key", message)


def _check_schedules(
    manifest: Manifest, document: WorkerDocument, written: Map, report: Report
) -> None:
    """Report required inputs that a schedule cannot give."""
    offset = 0 if document.trigger is None else 1
    for number, trigger in enumerate(manifest.triggers):
        if not isinstance(trigger, ScheduleTrigger):
            continue
        absent = [
            spec.name
            for spec in manifest.inputs
            if spec.must_be_given and spec.name not in trigger.inputs
        ]
        if absent:
            path = ("triggers", number - offset) if number >= offset else ("trigger",)
            names = ", ".join(f"`{name}`" for name in absent[:10])
            message = (
                f"The schedule gives no value to the required input {names}; the worker is"
                " blocked until saved inputs do."
            )
            report.notice(place_of(written, *path), "blocked_schedule", message)


def _check_tools(connection: Connection, place: Place, report: Report) -> None:
    """Report tools that by their name belong to another app."""
    if connection.app is None:
        return
    app = _plain(connection.app)
    for tool in connection.allowed_tools or ():
        if not _plain(tool).startswith(app):
            message = f"The tool {tool} does not look like one of the app {connection.app}."
            report.notice(place, "foreign_tool", message)


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
