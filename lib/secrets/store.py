"""A SecretStore over records that the adapter below cannot read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from lib.secrets.cipher import Cipher, SecretUnreadable
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


def open_secret_store(
    store: SealedSecretStore, *, keys: KeyFolder, given: str | None, workspace_id: str
) -> EncryptedSecretStore:
    """Return the store of a workspace's secrets, its key proven.

    The key is the one given, else the one in the folder, else a new one; never
    a new one where there are secrets already.

    Args:
        store: Keeps the records; its check record proves the key.
        keys: Where the key's file is, or will be.
        given: FLOOM_SECRETS_KEY, 64 hexadecimal digits.
        workspace_id: Records of another workspace do not open.

    Raises:
        KeyUnusable: there are secrets, and no key or another one.
    """
    is_used = store.find_check() is not None
    key = Key.from_hex(given) if given is not None else _key_of(keys, is_used=is_used)
    cipher = Cipher(key, workspace_id=workspace_id)
    _prove(store, cipher, source=SETTING if given is not None else str(keys.file(KEY_NAME)))
    return EncryptedSecretStore(store, cipher)


def _key_of(keys: KeyFolder, *, is_used: bool) -> Key:
    key = keys.find(KEY_NAME)
    if key is not None:
        return key
    if is_used:
        raise KeyUnusable(
            f"there are stored secrets, but not the key to them: restore {keys.file(KEY_NAME)} "
            f"or set {SETTING}"
        )
    return keys.get_or_create(KEY_NAME)


def _prove(store: SealedSecretStore, cipher: Cipher, *, source: str) -> None:
    """Open the check record, so that a wrong key is found now and not by a run."""
    check = store.find_check()
    if check is None:
        return
    if check.key_id != cipher.key_id:
        raise KeyUnusable(
            f"{source} is not the key of the stored secrets: it is {cipher.key_id}, they were "
            f"sealed with {check.key_id}"
        )
    try:
        cipher.open(CHECK_NAME, check)
    except SecretUnreadable:
        raise KeyUnusable(
            "the stored secrets belong to another FLOOM_WORKSPACE_ID, or their records are damaged"
        ) from None
