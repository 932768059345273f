from __future__ import annotations

import pytest

from lib.manifest.capabilities import declared_capabilities
from lib.manifest.loader import load_manifest

HEAD = (
    'schema_version: "0.3"\nname: x\ntitle: X\ndescription: A worker.\nversion: 1.0.0\n'
    "entrypoint: run.py\n"
)


def declared(text: str) -> tuple[str, ...]:
    source = (HEAD + text).encode()
    return declared_capabilities(
        load_manifest(source, worker_id="x", file_names=("run.py", "worker.yml")).manifest
    )


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", ()),
        ("limits: {memory_mb: 128}\ncontexts: [handbook]\n", ()),
        ("capabilities: {network: {egress: false}}\n", ()),
        ("exec: {secrets: [API_KEY]}\n", ("exec.secrets",)),
        ("secrets: [API_KEY]\n", ("exec.secrets",)),
        ("capabilities: {secrets: [API_KEY]}\n", ("exec.secrets",)),
        ("connections: [gmail]\n", ("connections",)),
        ("connections: [{app: gmail, allowed_tools: [GMAIL_SEND]}]\n", ("connections",)),
        ("calls: [other]\n", ("calls",)),
        ("notify: {url: https://a.example, on: [failed]}\n", ()),
        (
            "notify: {url: https://a.example, on: [failed], secret: API_KEY}\n",
            ("notify.secret",),
        ),
        ("capabilities: {network: {egress: true}}\n", ("capabilities.network.egress",)),
        (
            "capabilities: {network: {egress: {allow: [a.example]}}}\nsecrets: [B]\n",
            ("exec.secrets", "capabilities.network.egress"),
        ),
    ],
)
def test_each_reach_is_named_by_its_key(text: str, keys: tuple[str, ...]) -> None:
    assert declared(text) == keys


def test_what_cannot_be_read_declares_nothing() -> None:
    assert declared_capabilities(None) == ()
