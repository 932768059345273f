"""A workspace exported from a running server, by HTTP, and imported into another."""

from __future__ import annotations

import random
from pathlib import Path

from tests.e2e.server import ServerProcess

NOISE = random.Random(1).randbytes(9 * 1024 * 1024)  # more than is kept in memory


def test_a_large_workspace_moves_to_another_server(server: ServerProcess, tmp_path: Path) -> None:
    folder = server.workspace / "contexts" / "book"
    folder.mkdir(parents=True)
    (folder / "noise").write_bytes(NOISE)
    (folder / "zeros").write_bytes(bytes(2 * 1024 * 1024))
    (folder / "Page.md").write_bytes(b"1")
    (folder / "page.md").write_bytes(b"2")
    server.reload()

    first, again = (server.client.get("/workspace/export") for _ in range(2))

    assert first.content == again.content
    assert int(first.headers["content-length"]) == len(first.content) > len(NOISE)
    assert first.headers["x-floom-warning"] == "left out, see workspace.json: 1 file"
    with ServerProcess(tmp_path / "other") as other:
        report = other.client.post(
            "/workspace/import",
            content=first.content,
            headers={"content-type": "application/zip"},
        ).json()
        assert report["contexts_imported"] == ["book"]
        moved = other.workspace / "contexts" / "book"
        assert (moved / "noise").read_bytes() == NOISE
        assert (moved / "zeros").stat().st_size == 2 * 1024 * 1024
        assert (moved / "page.md").read_bytes() == b"2"
        assert not (moved / "Page.md").exists()
