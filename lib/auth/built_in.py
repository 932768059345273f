"""The built-in account: who knows the shared secret, or needs none."""

from __future__ import annotations

import functools
import hashlib
import hmac

from lib.auth.principal import Role
from lib.secrets.keys import Key

_LABEL = "built-in account"


class BuiltInAccount:
    """What `local-user` is under the present settings.

    It has no row that could be disabled. What is made in its name would outlive
    the secret that gave the right to make it: who left the team, and knew the
    secret, would keep a session or a token after it was changed because of that.
    So sessions, tokens and links of it are bound to the secret of their day, and
    with another secret, or none, they are refused.

    Args:
        secret: The operator's shared secret; None: the server is open.
        shared_secret_role: Role of callers who know the secret.
        key: The server's own. Without it a stored binding could be compared with
            guesses of the secret.

    Attributes:
        role: The most that it gives now.
    """

    def __init__(self, *, secret: str | None, shared_secret_role: Role, key: Key) -> None:
        self.role = Role.ADMIN if secret is None else shared_secret_role
        self._message = b"open" if secret is None else b"secret:" + secret.strip().encode()
        self._key = key

    @functools.cached_property
    def binding(self) -> str:
        """What names the present secret, and does not help to find it; hex."""
        key = self._key.derive(_LABEL)
        return hmac.new(key, self._message, hashlib.sha256).hexdigest()

    def honours(self, binding: str | None) -> bool:
        """Return whether something bound to this may still be used."""
        return binding is not None and hmac.compare_digest(binding, self.binding)
