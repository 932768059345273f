"""What each error code means, for the pages under `/problems/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True)
class Problem:
    """One documented error code.

    Attributes:
        code: Stable, snake_case; the last part of the problem's `type`.
        status: HTTP status it is answered with.
        title: A few words, the same for each occurrence (RFC 9457).
        explanation: What happened and what to do, for a reader of the page.
    """

    code: str
    status: int
    title: str
    explanation: str


_TABLE: Final = (
    # The kernel's own.
    Problem(
        "malformed_request",
        400,
        "Malformed request",
        "The request cannot be read: the JSON is broken or ambiguous, a header has a bad form, or "
        "an id in the path does not look like one. Correct the request; repeating it will not help.",
    ),
    Problem(
        "unauthenticated",
        401,
        "Not signed in",
        "There is no credential, or the one that was sent is not accepted. Send `Authorization: "
        "Bearer fpt_...` or the header `x-floom-secret`, or sign in. The first credential present "
        "decides: a bad one is not rescued by another.",
    ),
    Problem(
        "forbidden",
        403,
        "Not allowed",
        "The caller is known but may not do this. Some routes are for administrators only.",
    ),
    Problem(
        "cross_origin",
        403,
        "Cross-origin request",
        "A browser sent this change from a page of another origin. Changes are taken only from "
        "this server's own pages, or from clients that are not browsers.",
    ),
    Problem(
        "not_found",
        404,
        "Not found",
        "There is no such thing, or the caller may not see it.",
    ),
    Problem(
        "route_not_found",
        404,
        "No such route",
        "No endpoint has this path. `/docs` lists them all.",
    ),
    Problem(
        "method_not_allowed",
        405,
        "Method not allowed",
        "The path exists but not with this method; the header `Allow` lists those it has.",
    ),
    Problem(
        "not_acceptable",
        406,
        "Not acceptable",
        "No answer of this endpoint has a media type that the header `Accept` allows.",
    ),
    Problem(
        "request_timeout",
        408,
        "Request too slow",
        "The request did not arrive in time: its head within 20 s, its body without standing still "
        "for 30 s. Send it again; an upload may take as long as it needs while bytes keep coming.",
    ),
    Problem(
        "conflict",
        409,
        "Conflict",
        "The thing is not in the state that the request needs. Read it again, then decide.",
    ),
    Problem(
        "precondition_failed",
        409,
        "Changed meanwhile",
        "What is stored is no longer what the change builds on; nothing was written. Try again.",
    ),
    Problem(
        "payload_too_large",
        413,
        "Body too large",
        "The body is over the endpoint's cap: 256 KiB unless its description names another. Large "
        "files go through `POST /uploads`.",
    ),
    Problem(
        "unsupported_media_type",
        415,
        "Unsupported media type",
        "The body is not of the media type that is due here: mostly `application/json`, in UTF-8.",
    ),
    Problem(
        "range_not_satisfiable",
        416,
        "Range not satisfiable",
        "The header `Range` asks for bytes that the file does not have.",
    ),
    Problem(
        "wrong_host",
        421,
        "Wrong host",
        "The header `Host` names another server. Use the public address, `localhost`, or add the "
        "name to FLOOM_ALLOWED_HOSTS. The rule keeps other sites' pages from reaching this server "
        "by a name of theirs.",
    ),
    Problem(
        "validation_failed",
        422,
        "Validation failed",
        "The request can be read, but values in it are not allowed. `errors` lists each one: a "
        "JSON Pointer into the body, `query:name` or `header:name`, and what is allowed there.",
    ),
    Problem(
        "rate_limited",
        429,
        "Too many requests",
        "Wait for the number of seconds in the header `Retry-After`, then try again.",
    ),
    Problem(
        "internal_error",
        500,
        "Unexpected failure",
        "Something failed that should not. Nothing in the request is known to be wrong. The log of "
        "the server has the reason under the request id.",
    ),
    Problem(
        "unavailable",
        503,
        "Unavailable",
        "A store or provider that this needs does not answer now. Try again in a moment.",
    ),
    Problem(
        "not_configured",
        503,
        "Not configured",
        "The feature needs a setting that this server does not have; `detail` names the variable.",
    ),
    Problem(
        "store_unavailable",
        503,
        "The store is unavailable",
        "The store cannot be read or written now; nothing was changed. Try again in a moment.",
    ),
    Problem(
        "store_without_conditions",
        503,
        "The store cannot be shared",
        "The server of the blob store ignores the conditions of writes, or answers with what has "
        "been replaced, so writers would lose each other's changes. Use another server.",
    ),
    Problem(
        "put_in_doubt",
        503,
        "The store did not answer",
        "The store was asked to write something and did not say whether it has. Look at what is "
        "there before you try again.",
    ),
    Problem(
        "database_newer",
        503,
        "The database is newer than this program",
        "The database file was written by a newer version. Start that version, or restore a copy.",
    ),
    Problem(
        "database_other_version",
        503,
        "The database is older than this program",
        "The database file was written by an older version, and only a starting server changes it.",
    ),
    Problem(
        "sandbox_unavailable",
        503,
        "No sandbox",
        "The isolation that the settings require cannot be had on this host. A run's `sandbox` "
        "tells which properties were held, and by what.",
    ),
    Problem(
        "blob_too_large",
        503,
        "A stored blob is too large",
        "A blob of the store is larger than anything that this program writes under its key; "
        "nothing was changed. Somebody else wrote it: restore or remove it.",
    ),
    Problem("bad_blob_key", 422, "Not the key of a blob", "The text cannot name a stored blob."),
    Problem("blob_not_found", 404, "No such blob", "No stored blob has this key, or it expired."),
    # Idempotency.
    Problem(
        "idempotency_key_reused",
        422,
        "Idempotency key reused",
        "The same Idempotency-Key was used within 24 hours with another body. A new request needs "
        "a new key.",
    ),
    Problem(
        "idempotency_key_in_use",
        409,
        "Idempotency key in use",
        "The first request with this Idempotency-Key has not finished. Try again in a moment.",
    ),
    # Workers.
    Problem(
        "worker_not_found",
        404,
        "No such worker",
        "No worker has this id. `GET /workers` lists all.",
    ),
    Problem(
        "worker_broken",
        409,
        "The worker's manifest does not load",
        "The manifest has errors; `GET /workers/{id}` lists them with file and line.",
    ),
    Problem(
        "worker_disabled",
        409,
        "The worker is disabled",
        "The worker is disabled, archived or quarantined. Enable it first.",
    ),
    Problem(
        "worker_conflict",
        409,
        "The worker has changed",
        "`expected_sha` is not the current tree of the worker. Read its files again and repeat the "
        "change on top of them.",
    ),
    Problem(
        "version_not_found",
        404,
        "No such version",
        "The commit is not in the workspace, or the worker is not in the commit. "
        "`GET /workers/{id}/versions` lists the commits that changed it.",
    ),
    Problem(
        "capability_requires_admin",
        403,
        "An administrator must make this change",
        "The worker declares, or would declare, a secret, connection, tool, call or egress. Only "
        "an administrator may change its files, because they could print any secret.",
    ),
    Problem(
        "secret_path",
        422,
        "A file that may hold secrets",
        "A path in the request is on the deny list of files that hold secrets, such as `.env`. "
        "Store the value as a secret and declare its name in the manifest.",
    ),
    Problem(
        "bad_bundle",
        400,
        "Not a zip that can be imported",
        "The bytes are no zip, or one with entries that are encrypted, links, damaged, overlapping, of "
        "unsafe names or too many, or with bytes that belong to no entry. Export "
        "it again; nothing was imported.",
    ),
    Problem(
        "export_too_large",
        409,
        "The workspace is too large to export",
        "A zip that can be imported has at most 50,000 files, 200 MiB unpacked and 50 MiB packed. The "
        "detail names the limit and the largest part of the workspace. Keep less there, or take the "
        "workspace along with `git clone`.",
    ),
    Problem(
        "unknown_schema_version",
        422,
        "An export of another version",
        "`workspace.json` names a schema_version that this program does not read. Use the program that "
        "made it, or a newer one.",
    ),
    Problem(
        "git_remote_failed",
        503,
        "The git remote did not answer",
        "Git could not reach the remote, or was refused; the detail has its words.",
    ),
    Problem(
        "issue_broken",
        409,
        "The issue's file cannot be read",
        "The file was edited by hand and is no issue any more; the detail says why. Correct it in the "
        "workspace's folder and reload, or push a correction.",
    ),
    Problem(
        "issue_numbers_used_up",
        409,
        "No issue number is left",
        "A file made by hand has the highest number that an issue may have, or the counter says so. "
        "The detail says what to set right; reload the workspace then.",
    ),
    Problem(
        "issue_full",
        422,
        "No room for another comment",
        "The comments of one issue have 8 MiB together. Go on in a new issue.",
    ),
    Problem(
        "share_not_found",
        404,
        "No such share",
        "The share token is unknown, malformed or revoked.",
    ),
    Problem(
        "share_too_large",
        422,
        "The shared worker is too large",
        "A copy of a shared worker has at most 500 files and 20 MiB. Export the workspace instead.",
    ),
    Problem("commit_not_found", 404, "No such commit", "The workspace has no commit with this id."),
    Problem("upload_not_found", 404, "No such upload", "The upload is unknown, used or expired."),
    # Runs.
    Problem("run_not_found", 404, "No such run", "No run has this id, or it is past retention."),
    Problem(
        "run_state_conflict",
        409,
        "The run is in another state",
        "The run's status does not allow this move, such as to cancel a run that has finished.",
    ),
    Problem(
        "missing_secret",
        422,
        "A secret is missing",
        "The worker declares a secret that has no stored value. The answer names it.",
    ),
    Problem(
        "missing_connection",
        422,
        "A connection is missing",
        "The worker declares a connection, and no active one of that app exists.",
    ),
    Problem(
        "artifact_not_found", 404, "No such artifact", "The run has no artifact with this name."
    ),
    Problem(
        "feedback_not_found",
        404,
        "No such feedback",
        "The run has no feedback with this id, and the request brings no content to store.",
    ),
    Problem(
        "feedback_conflict",
        409,
        "The feedback does not fit",
        "The run has feedback under this `feedback_id` with another content or rating, or it has "
        "1,000 pieces of feedback, which is all that one run takes. The same words under the same "
        "id are no conflict: they are answered with what is there.",
    ),
    Problem("run_exists", 409, "The run exists", "There is a run with this id already."),
    Problem(
        "replay_conflict",
        409,
        "The run cannot be replayed",
        "The worker is gone or disabled, or the tree that the run used is no longer there. Start "
        "a new run, or replay with `latest`.",
    ),
    Problem(
        "concurrency_conflict",
        409,
        "The worker runs as often as it may",
        "The manifest limits how many runs there may be at once and skips further ones. Wait for "
        "one to end.",
    ),
    Problem(
        "upload_conflict",
        409,
        "The upload is complete",
        "The bytes of this upload are there already. Create another one for other bytes.",
    ),
    # Approvals.
    Problem(
        "approval_not_found",
        404,
        "No such approval",
        "The approval is unknown, or the review link leads to none that is open: it was used, "
        "revoked or has expired, its proposal is decided, or it never was.",
    ),
    Problem(
        "review_link_not_found",
        404,
        "No such review link",
        "`GET /approvals/{approval_id}` lists an approval's links.",
    ),
    Problem(
        "approval_conflict",
        409,
        "The approval is decided",
        "The run does not wait for a decision: it is decided, expired or cancelled. Or you have "
        "voted for this proposal already.",
    ),
    Problem(
        "approval_changed",
        409,
        "The proposal has changed",
        "The proposal was edited after it was read. Read it again; earlier votes are void.",
    ),
    # The workspace.
    Problem(
        "workspace_conflict",
        409,
        "The workspace has changed",
        "The tree moved, or holds something else than the change builds on. Read it again and "
        "repeat the change on top of it.",
    ),
    Problem(
        "commit_in_doubt",
        503,
        "It is not known whether the change was made",
        "The bundle store did not say whether it took the change, and could not be asked. It may have "
        "been made: look at the workspace before you send it again, or send it again with the same "
        "Idempotency-Key.",
    ),
    Problem(
        "workspace_unavailable",
        503,
        "The workspace is unavailable",
        "The workspace's repository cannot be used now: refused, unreadable or not writable.",
    ),
    Problem("path_not_found", 404, "No such path", "The tree has nothing at this path."),
    Problem("object_not_found", 404, "No such object", "The repository has no object of this id."),
    Problem(
        "invalid_path",
        422,
        "A path that cannot be stored",
        "Git, or a careful file system, could not hold this path. Rename the file.",
    ),
    # Connections, secrets, issues, accounts.
    Problem("connection_not_found", 404, "No such connection", "No connection has this id."),
    Problem(
        "secret_unreadable",
        503,
        "What is stored encrypted cannot be read",
        "The record of a secret is damaged, so its value cannot be handed to a run, nor be masked in "
        "what is shown of one. The answer names it: store it again, or delete it. Or a value of one "
        "run, such as a proposal, is damaged or was sealed with another key: restore the data folder, "
        "or start that work anew. Other runs are not concerned.",
    ),
    Problem("secret_not_found", 404, "No such secret", "No secret is stored under this name."),
    Problem("issue_not_found", 404, "No such issue", "The workspace has no issue with this id."),
    Problem(
        "issue_conflict", 409, "The issue has changed", "Somebody changed the issue meanwhile."
    ),
    Problem("problem_not_found", 404, "No such error code", "No error of this API has this code."),
    Problem("schema_not_found", 404, "No such schema", "`/schemas/worker.json` is the only one."),
    Problem("page_not_found", 404, "No such page", "The reference has no file of this name."),
    Problem("user_not_found", 404, "No such user", "No account has this id."),
    Problem(
        "user_conflict",
        409,
        "Not possible for this user",
        "The user is disabled, or has another role than an invitation gives: a link makes users, it "
        "does not change them. Use `PATCH /auth/users/{user_id}`.",
    ),
    Problem(
        "last_admin",
        409,
        "The last administrator",
        "Nobody would be left who may administer this server. Make another user an administrator "
        "first.",
    ),
    Problem(
        "token_conflict",
        409,
        "Too many access tokens",
        "You have as many access tokens as one user may have. Revoke those that are not used.",
    ),
    Problem("token_not_found", 404, "No such token", "The token is unknown, expired or revoked."),
    Problem("trigger_not_found", 404, "No such trigger", "No worker waits for this event."),
    Problem("link_not_found", 404, "No such link", "The review link is unknown or was used."),
    Problem(
        "magic_link_invalid",
        400,
        "The sign-in link is not valid",
        "The link is malformed, was used or withdrawn, is older than 15 minutes, or its user is "
        "disabled. Ask for a new one.",
    ),
)

_known: Final = {problem.code: problem for problem in _TABLE}

PROBLEMS: Final[Mapping[str, Problem]] = MappingProxyType(_known)
"""Every documented code: those above and those that operations declare."""


def add(problem: Problem) -> None:
    """Document a further code; the same one again changes nothing.

    Raises:
        ValueError: the code has another meaning already.
    """
    if _known.setdefault(problem.code, problem) != problem:
        raise ValueError(f"the error code {problem.code} is explained twice")
