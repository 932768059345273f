"""The secrets as this server sees them: what is stored, and what workers declare."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from lib.clock import Clock
from lib.errors import FieldError, Invalid, NotFound
from lib.manifest.fields import RESERVED_SECRETS
from lib.storage.ports import SecretStore
from lib.workspace.registry import Registry

# Linux: MAX_ARG_STRLEN, for `NAME=value` and the zero byte that ends it.
MAX_VARIABLE_BYTES: Final = 128 * 1024


class SecretNotFound(NotFound):
    """No secret is stored under this name."""

    code = "secret_not_found"


@dataclass(frozen=True, slots=True)
class SecretEntry:
    """What may be known of one name.

    Attributes:
        used_by: Ids of the workers that declare it.
        updated_at: None while no value is stored.
        last_used_at: When a run last took the value.
    """

    name: str
    used_by: tuple[str, ...]
    updated_at: datetime | None
    last_used_at: datetime | None

    @property
    def status(self) -> Literal["set", "missing"]:
        """Whether there is a value."""
        return "missing" if self.updated_at is None else "set"


class SecretCatalogue:
    """Lists, stores and deletes secrets; shows no value."""

    def __init__(self, *, registry: Registry, store: SecretStore, clock: Clock) -> None:
        self._registry = registry
        self._store = store
        self._clock = clock

    def list(self) -> list[SecretEntry]:
        """Return every name that is stored or declared, in order."""
        stored = {secret.name: secret for secret in self._store.list()}
        used_by = self._uses()
        return [
            SecretEntry(
                name,
                tuple(used_by.get(name, ())),
                stored[name].updated_at if name in stored else None,
                stored[name].last_used_at if name in stored else None,
            )
            for name in sorted(stored.keys() | used_by.keys())
        ]

    def put(self, name: str, value: str) -> None:
        """Store a value, replacing an older one.

        Raises:
            Invalid: the name is reserved, or no variable can hold the value.
        """
        _check_name(name)
        _check_value(name, value)
        self._store.put(name, value, at=self._clock.now())

    def delete(self, name: str) -> None:
        """Delete a value. Raises SecretNotFound."""
        if not self._store.delete(name):
            raise SecretNotFound(
                f"No secret {name} is stored; GET /connections/secrets lists them."
            )

    def _uses(self) -> Mapping[str, Sequence[str]]:
        """Return the ids of workers by the names that they declare."""
        used_by = defaultdict(list)
        for worker_id, worker in self._registry.current().workers.items():
            manifest = worker.loaded.manifest
            for name in manifest.secrets if manifest else ():
                used_by[name].append(worker_id)
        return used_by


def _check_name(name: str) -> None:
    if RESERVED_SECRETS.match(name):
        raise Invalid(f"{name} is a variable of the runtime's own; choose another name.")


def _check_value(name: str, value: str) -> None:
    if "\0" in value:
        _refuse_value("Must not hold a zero character: no environment variable can.")
    if len(f"{name}={value}".encode()) + 1 > MAX_VARIABLE_BYTES:
        _refuse_value("Must be smaller: no environment variable holds 128 KiB with its name.")


def _refuse_value(detail: str) -> None:
    raise Invalid(detail, [FieldError("/value", detail)])
