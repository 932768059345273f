"""What the tests of manifests have in common: one worker, loaded from text."""

from __future__ import annotations

from lib.manifest.loader import LoadedManifest, load_manifest
from lib.manifest.models import Manifest

HEAD = """\
schema_version: "0.3"
title: Lead scorer
description: Scores leads.
version: 1.0.0
"""


def load(text: str | bytes, *, files: tuple[str, ...] = ("run.py",)) -> LoadedManifest:
    source = text if isinstance(text, bytes) else text.encode()
    return load_manifest(source, worker_id="lead-scorer", file_names=files)


def load_with(text: str, *, files: tuple[str, ...] = ("run.py",)) -> LoadedManifest:
    """Load `text` below the keys that every manifest needs."""
    return load(HEAD + text, files=files)


def manifest_with(text: str, *, files: tuple[str, ...] = ("run.py",)) -> Manifest:
    loaded = load_with(text, files=files)
    assert loaded.manifest is not None, loaded.problems
    return loaded.manifest


def codes(loaded: LoadedManifest) -> list[str]:
    return [problem.code for problem in loaded.problems]


def messages(loaded: LoadedManifest) -> list[str]:
    return [problem.message for problem in loaded.problems]
