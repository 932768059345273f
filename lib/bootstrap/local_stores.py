"""A local server's stores: SQLite, and files under the data folder."""

from __future__ import annotations

import threading
from contextlib import ExitStack

from lib.bootstrap.groundwork import Groundwork
from lib.secrets.keys import KeyFolder
from lib.secrets.store import open_secrets
from lib.storage.content import ContentStore


class LocalStores:
    """One adapter for each port of `lib.storage.ports`.

    Raises:
        StoreUnavailable: the database cannot be opened.
        KeyUnusable: the key of the stored secrets is not there, or is another one.
    """

    def __init__(self, ground: Groundwork, on_exit: ExitStack) -> None:
        from lib.storage.files import FileBlobStore
        from lib.storage.sqlite import (
            SqliteAccountStore,
            SqliteApprovalStore,
            SqliteAuditStore,
            SqliteBlobReferences,
            SqliteClaimStore,
            SqliteDatabase,
            SqliteFailureReportStore,
            SqliteFeedbackStore,
            SqliteLogStore,
            SqliteRateStore,
            SqliteRunStore,
            SqliteSealedSecretStore,
            SqliteShareStore,
            SqliteUploadStore,
            SqliteWorkerSettingsStore,
        )

        settings, folder = ground.settings, ground.folder
        self.database = SqliteDatabase(folder.database)
        on_exit.callback(self.database.close)
        room = threading.Thread(target=self.database.take_room, daemon=True)
        room.start()
        on_exit.callback(room.join)
        self.accounts = SqliteAccountStore(self.database)
        self.runs = SqliteRunStore(self.database)
        self.approvals = SqliteApprovalStore(self.runs)
        self.logs = SqliteLogStore(self.database)
        self.claims = SqliteClaimStore(self.database)
        self.feedback = SqliteFeedbackStore(self.database)
        self.failure_reports = SqliteFailureReportStore(self.database)
        self.uploads = SqliteUploadStore(self.database)
        self.shares = SqliteShareStore(self.database)
        self.audit = SqliteAuditStore(self.database)
        self.rates = SqliteRateStore(self.database)
        self.worker_settings = SqliteWorkerSettingsStore(self.database)
        keys = KeyFolder(folder.keys)
        self.server_key = keys.get_or_create("server")
        opened = open_secrets(
            SqliteSealedSecretStore(self.database),
            keys=keys,
            given=settings.secrets_key.get_secret_value() if settings.secrets_key else None,
            workspace_id=settings.workspace_id,
        )
        self.secrets = opened.store
        self.references = SqliteBlobReferences(self.database)
        self.content = ContentStore(
            FileBlobStore(folder.blobs, clock=ground.clock),
            scratch=str(folder.unfinished),
            sealer=opened.sealer,
        )
