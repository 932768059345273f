"""The accounts of a data folder, with a server at work on it or without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from lib.auth.accounts import Accounts, build_accounts
from lib.auth.built_in import BuiltInAccount
from lib.auth.principal import Role
from lib.clock import Clock
from lib.data_folder import DataFolder, DataFolderError, database_of
from lib.ids import Ids
from lib.secrets.keys import Key
from lib.settings import Settings
from lib.storage.ports import AccountStore


def accounts_of(settings: Settings, store: AccountStore, *, key: Key, clock: Clock) -> Accounts:
    """Return the accounts of a store under these settings; `key` is the server's."""
    built_in = BuiltInAccount(
        secret=settings.secret.get_secret_value() if settings.secret else None,
        shared_secret_role=Role(settings.shared_secret_role),
        key=key,
    )
    return build_accounts(store, built_in=built_in, clock=clock, ids=Ids(clock))


@contextmanager
def open_account_store(settings: Settings, clock: Clock) -> Iterator[AccountStore]:
    """Open the accounts beside the server that may be at work on the same folder.

    Raises:
        DataFolderError: the file is of another version, and a server has it.
        StoreUnavailable: it cannot be opened; NewerDatabase is one.
    """
    from lib.storage.sqlite import OtherVersion, SqliteAccountStore, SqliteDatabase

    path = database_of(settings.data_dir)
    with ExitStack() as on_exit:
        if not path.exists():
            on_exit.callback(DataFolder(settings.data_dir, clock=clock).close)
        try:
            database = SqliteDatabase(path, readers=1, migrates=not path.stat().st_size)
        except OtherVersion as ex:
            # A server of the version that wrote it may run: only who has the folder may migrate.
            on_exit.callback(_take_folder(settings, clock, why=ex.detail).close)
            database = SqliteDatabase(path, readers=1)
        on_exit.callback(database.close)
        yield SqliteAccountStore(database)


def _take_folder(settings: Settings, clock: Clock, *, why: str) -> DataFolder:
    try:
        return DataFolder(settings.data_dir, clock=clock)
    except DataFolderError as ex:
        raise DataFolderError(
            f"{why} It is not changed while a server uses it: stop that server, or run the "
            f"local_server.py that it was started from ({ex})"
        ) from ex
