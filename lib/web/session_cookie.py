"""The session cookie, as an answer sets it."""

from __future__ import annotations

from lib.auth.credentials import SESSION_COOKIE


class SessionCookie:
    """Writes `Set-Cookie` values.

    Scripts never see the cookie, and other sites' forms do not carry it.

    Args:
        is_secure: Browsers call over TLS, and must send it over nothing else.
    """

    def __init__(self, *, is_secure: bool) -> None:
        self._end = "; Secure" if is_secure else ""

    def keep(self, value: str, seconds: int) -> bytes:
        """Return what stores a session for so long."""
        return self._header(value, seconds)

    def clear(self) -> bytes:
        """Return what makes a browser forget its session."""
        return self._header("", 0)

    def _header(self, value: str, seconds: int) -> bytes:
        cookie = f"{SESSION_COOKIE}={value}; HttpOnly; SameSite=Lax; Path=/; Max-Age={seconds}"
        return (cookie + self._end).encode("latin-1")
