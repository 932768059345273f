"""Secret values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from lib.storage.records import SealedValue, SecretInfo


class SecretStore(Protocol):
    """Secret values by name. No method of any edge returns a value to a caller."""

    def values(self, names: Sequence[str], *, at: datetime | None = None) -> Mapping[str, str]:
        """Return the values of those names that are stored.

        Args:
            names: Others are never read.
            at: When a run takes them: their last use, unless a later one is
                known. None: it is no use; they are only to be masked.
        """
        ...

    def put(self, name: str, value: str, *, at: datetime) -> None:
        """Store a value, replacing an older one; its last use stays."""
        ...

    def delete(self, name: str) -> bool:
        """Remove a value; False when there was none."""
        ...

    def list(self) -> list[SecretInfo]:
        """Return what is known of each stored secret, by name."""
        ...


class SealedSecretStore(Protocol):
    """Encrypted secret values: what a durable adapter keeps and cannot read.

    `lib/secrets/store.py` makes a SecretStore of it.
    """

    def take(self, names: Sequence[str], *, at: datetime | None) -> Mapping[str, SealedValue]:
        """Return those of `names` that are stored; `at` as in SecretStore.values."""
        ...

    def put(self, name: str, sealed: SealedValue, *, at: datetime, check: SealedValue) -> None:
        """Store a value, replacing an older one; its last use stays.

        `check` is stored with the first value, as one unit.
        """
        ...

    def delete(self, name: str) -> bool:
        """Remove a value, the last one with the check record unless that is kept.

        Returns:
            False when there was none.
        """
        ...

    def list(self) -> list[SecretInfo]:
        """Return what is known of each stored secret, by name."""
        ...

    def keep_check(self, check: SealedValue) -> None:
        """Keep the check record for good, `check` where there is none; idempotent.

        Durable before anything else is sealed with the key.
        """
        ...

    def find_check(self) -> SealedValue | None:
        """Return the check record: there as long as there are values, or for good."""
        ...
