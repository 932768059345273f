"""Loads a worker's manifest: from bytes to a `Manifest` and its problems."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from lib.ids import RESERVED_WORKER_IDS
from lib.manifest.build import build_manifest
from lib.manifest.checks import check_runtime
from lib.manifest.data import Map
from lib.manifest.models import Manifest
from lib.manifest.normalise import normalise
from lib.manifest.report import Place, Problem, Report, shorten
from lib.manifest.source import decode_leniently, read_source
from lib.manifest.validate import validate

_TITLE: Final = re.compile(
    r"""^(?:title|name):[ \t]+["']?([^\r\n"'#&*!|>{\[][^\r\n"'#]*)""", re.MULTILINE
)
_LONGEST_TITLE: Final = 120
_RESERVED: Final = "No worker can be called {}: the API has another use for it. Rename the folder."


@dataclass(frozen=True)
class LoadedManifest:
    """What could be understood of a manifest, and what could not.

    Attributes:
        manifest: None only where nothing usable could be built; beside
            errors it holds what is right, with defaults for the rest.
        problems: In the order of the source.
        digest: SHA-256 of the source, in hex.
        title: What to list the worker as, at best its title, else its id.
    """

    manifest: Manifest | None
    problems: tuple[Problem, ...]
    digest: str
    title: str

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Problems that make the worker unusable."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Problems that a worker can be run with."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")

    @property
    def strict_errors(self) -> tuple[Problem, ...]:
        """What strict mode refuses: errors, and warnings about the shape."""
        return tuple(
            problem
            for problem in self.problems
            if problem.severity == "error" or problem.kind == "shape"
        )


def load_manifest(
    source: bytes,
    *,
    worker_id: str,
    file_names: Collection[str],
    runtimes: Collection[str] | None = None,
) -> LoadedManifest:
    """Load a manifest leniently. Any bytes give an answer, in linear time.

    Args:
        source: Contents of `worker.yml`.
        worker_id: The folder's name. A reserved one is an error.
        file_names: Paths of the files in the worker's folder.
        runtimes: Those of `python`, `node` and `bash` that the host has; None
            leaves this unchecked.
    """
    report = Report()
    if worker_id in RESERVED_WORKER_IDS:
        report.error(Place(None, "", 1), "reserved_worker_id", _RESERVED.format(worker_id))
    digest = hashlib.sha256(source).hexdigest()
    written = read_source(source, report)
    if written is None:
        title = _title_in_text(source) or worker_id
        return LoadedManifest(None, report.problems(), digest, title)
    title = _title_in_map(written) or worker_id
    manifest = _read(written, report, worker_id, title, file_names)
    if manifest is not None and runtimes is not None:
        check_runtime(manifest, written, runtimes, report)
    return LoadedManifest(
        manifest, report.problems(), digest, manifest.title if manifest else title
    )


def _read(
    written: Map, report: Report, worker_id: str, title: str, file_names: Collection[str]
) -> Manifest | None:
    normalise(written, report)
    document = validate(written, report, title=title)
    if document is None:
        report.error(written.place, "unusable", "The manifest cannot be read as a whole.")
        return None
    return build_manifest(document, written, report, worker_id=worker_id, file_names=file_names)


def _title_in_map(written: Map) -> str | None:
    titles = (written.get(key) for key in ("title", "name"))
    found = next((title for title in titles if isinstance(title, str) and title.strip()), None)
    return shorten(found, _LONGEST_TITLE) if found else None


def _title_in_text(source: bytes) -> str | None:
    """Look for a title in a source that is not YAML."""
    found = _TITLE.search(decode_leniently(source))
    return (shorten(found[1], _LONGEST_TITLE) or None) if found else None
