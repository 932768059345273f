"""A SecretStore over records that the adapter below cannot read, and the key to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lib.secrets.cipher import Cipher, SecretUnreadable
from lib.secrets.content_sealer import ContentSealer
from lib.secrets.keys import Key, KeyFolder, KeyUnusable
from lib.storage.ports import SealedSecretStore
from lib.storage.records import SecretInfo

SETTING: Final = "FLOOM_SECRETS_KEY"
KEY_NAME: Final = "secrets"
CHECK_NAME: Final = ""  # no secret has it
CHECK_TEXT: Final = "This opens with the key of the secrets beside it."


class EncryptedSecretStore:
    """A SecretStore.

    Args:
        store: Keeps what `cipher` seals.
    """

    def __init__(self, store: SealedSecretStore, cipher: Cipher) -> None:
        self._store = store
        self._cipher = cipher

    def values(self, names: Sequence[str], *, at: datetime | None = None) -> Mapping[str, str]:
        """Return the values of those names that are stored. Raises SecretUnreadable."""
        if not names:
            return {}
        sealed = self._store.take(names, at=at)
        return {name: self._cipher.open(name, each) for name, each in sealed.items()}

    def put(self, name: str, value: str, *, at: datetime) -> None:
        """Store a value, replacing an older one."""
        sealed = self._cipher.seal(name, value)
        check = self._cipher.seal(CHECK_NAME, CHECK_TEXT)
        self._store.put(name, sealed, at=at, check=check)

    def delete(self, name: str) -> bool:
        """Remove a value; False when there was none."""
        return self._store.delete(name)

    def list(self) -> list[SecretInfo]:
        """Return what is known of each stored secret, by name."""
        return self._store.list()

    def keep_check(self) -> None:
        """Have the key proven at each start to come, whatever becomes of the secrets."""
        self._store.keep_check(self._cipher.seal(CHECK_NAME, CHECK_TEXT))


@dataclass(frozen=True)
class Secrets:
    """What one key opens.

    Attributes:
        sealer: Of content; keeps the check record before it seals anything.
    """

    store: EncryptedSecretStore
    sealer: ContentSealer


def open_secrets(
    store: SealedSecretStore, *, keys: KeyFolder, given: str | None, workspace_id: str
) -> Secrets:
    """Return a workspace's secrets and its sealer, their key proven.

    The key is the one given, else the one in the folder, else a new one; never
    a new one where something is sealed already.

    Args:
        store: Keeps the records; its check record proves the key.
        keys: Where the key's file is, or will be.
        given: FLOOM_SECRETS_KEY, 64 hexadecimal digits.
        workspace_id: What another workspace sealed does not open.

    Raises:
        KeyUnusable: something is sealed, and there is no key or another one.
    """
    is_used = store.find_check() is not None
    key = Key.from_hex(given) if given is not None else _key_of(keys, is_used=is_used)
    cipher = Cipher(key, workspace_id=workspace_id)
    _prove(store, cipher, source=SETTING if given is not None else str(keys.file(KEY_NAME)))
    secrets = EncryptedSecretStore(store, cipher)
    sealer = ContentSealer(key, workspace_id=workspace_id, before_first=secrets.keep_check)
    return Secrets(secrets, sealer)


def _key_of(keys: KeyFolder, *, is_used: bool) -> Key:
    key = keys.find(KEY_NAME)
    if key is not None:
        return key
    if is_used:
        raise KeyUnusable(
            "there are stored secrets or proposals, but not the key to them: restore "
            f"{keys.file(KEY_NAME)} or set {SETTING}"
        )
    return keys.get_or_create(KEY_NAME)


def _prove(store: SealedSecretStore, cipher: Cipher, *, source: str) -> None:
    """Open the check record, so that a wrong key is found now and not by a run."""
    check = store.find_check()
    if check is None:
        return
    if check.key_id != cipher.key_id:
        raise KeyUnusable(
            f"{source} is not the key of the stored secrets and proposals: it is {cipher.key_id}, "
            f"they were sealed with {check.key_id}"
        )
    try:
        cipher.open(CHECK_NAME, check)
    except SecretUnreadable:
        raise KeyUnusable(
            "the stored secrets and proposals belong to another FLOOM_WORKSPACE_ID, or their "
            "records are damaged"
        ) from None
