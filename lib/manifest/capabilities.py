"""What a manifest asks for beyond its own folder: what only an administrator may give."""

from __future__ import annotations

from lib.manifest.models import Manifest


def declared_capabilities(manifest: Manifest | None) -> tuple[str, ...]:
    """Return the keys under which a manifest reaches for more than its own folder.

    Whoever may change any file of such a worker could print a secret, or use a
    connection, that is not theirs.
    """
    if manifest is None:
        return ()
    declared = {
        "exec.secrets": manifest.secrets,
        "connections": manifest.connections,
        "calls": manifest.calls,
        "capabilities.network.egress": manifest.egress.allow,
        "notify.secret": manifest.notify and manifest.notify.secret,
    }
    return tuple(key for key, value in declared.items() if value)
