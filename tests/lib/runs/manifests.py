"""Manifests from a few lines of YAML."""

from __future__ import annotations

import textwrap

from lib.manifest.loader import load_manifest
from lib.manifest.models import Manifest

HEAD = """
schema_version: "0.3"
name: worker
title: Worker
description: Does something.
version: 1.0.0
"""


def manifest(body: str = "") -> Manifest:
    """Return the manifest of a Python worker with these further keys."""
    source = HEAD + textwrap.dedent(body)
    loaded = load_manifest(source.encode(), worker_id="worker", file_names=["run.py", "worker.yml"])
    assert not loaded.errors, loaded.errors
    assert loaded.manifest is not None
    return loaded.manifest
