"""One server on one machine, composed."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from typing import Self

from lib.bootstrap.accounts import accounts_of
from lib.bootstrap.groundwork import Groundwork
from lib.bootstrap.local_reviews import LocalReviews
from lib.bootstrap.local_runs import LocalRuns
from lib.bootstrap.local_stores import LocalStores
from lib.bootstrap.local_workspace import LocalWorkspace
from lib.bootstrap.services import Services
from lib.clock import Clock, SystemClock
from lib.data_folder import DataFolder
from lib.ids import Ids
from lib.mail import build_mailer
from lib.overview import OverviewReader
from lib.runs.engine import Engine
from lib.runs.secret_catalogue import SecretCatalogue
from lib.runs.uploads import Uploads
from lib.sandbox.runtimes import Runtimes
from lib.settings import Settings
from lib.workspace.once import Once
from lib.workspace.sharing import Sharing


class Local:
    """Everything of one server on one machine; closed in reverse order of its making.

    Attributes:
        services: For the resources.
        engine: Executes runs; start it once, stop it before `close`.
        api_socket: Where runs reach the application, by way of their gates.

    Raises:
        DataFolderError: another server has the data folder, or it cannot be used.
        StoreUnavailable, KeyUnusable: see `LocalStores`.
        WorkspaceUnavailable: see `LocalWorkspace`.
        SandboxUnavailable: see `LocalRuns`.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self._exit = ExitStack()
        try:
            parts = _Parts(settings, clock or SystemClock(), self._exit)
            self.services = parts.services()
            self.engine = parts.engine()
            parts.space.start()
            self.api_socket = parts.ground.folder.api_socket
        except BaseException:
            self._exit.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the sandbox, the workspace, the database and the data folder."""
        self._exit.close()


class _Parts:
    """The parts of a local server, made in order."""

    def __init__(self, settings: Settings, clock: Clock, on_exit: ExitStack) -> None:
        folder = DataFolder(settings.data_dir, clock=clock)
        on_exit.callback(folder.close)
        self.ground = Groundwork(settings, clock, Ids(clock), folder)
        self.stores = LocalStores(self.ground, on_exit)
        runtimes = Runtimes.find()
        self.space = LocalWorkspace(self.ground, runtimes, on_exit)
        self.runs = LocalRuns(self.ground, self.stores, self.space, runtimes, on_exit)
        self.reviews = LocalReviews(self.ground, self.stores, self.space, self.runs)

    def engine(self) -> Engine:
        return Engine(
            owner=self.ground.folder.owner,
            executor=self.runs.executor,
            recovery=self.runs.build_recovery(),
            retention=self.runs.build_retention(),
            removal=self.runs.removal,
            failures=self.reviews.build_failure_issues(),
            expiry=self.reviews.expiry,
        )

    def services(self) -> Services:
        settings, clock = self.ground.settings, self.ground.clock
        stores, space, runs, reviews = self.stores, self.space, self.runs, self.reviews
        return Services(
            base_url=settings.base_url,
            clock=clock,
            accounts=accounts_of(settings, stores.accounts, key=stores.server_key, clock=clock),
            runs=stores.runs,
            logs=stores.logs,
            approval_store=stores.approvals,
            approvals=reviews.build_approvals(),
            review_links=reviews.build_review_links(),
            feedback=reviews.feedback,
            promotions=reviews.build_promotions(),
            content=stores.content,
            uploads=self._uploads(),
            worker_settings=stores.worker_settings,
            secrets=SecretCatalogue(registry=space.registry, store=stores.secrets, clock=clock),
            masks=runs.masks,
            workspace=space.workspace,
            registry=space.registry,
            catalogue=runs.catalogue,
            lifecycle=runs.lifecycle,
            worker_source=space.worker_source,
            worker_removal=runs.removal,
            issues=space.issues,
            sharing=self._sharing(),
            load_manifest=space.load_manifest,
            once=self._once(),
            early_installs=runs.early_installs,
            signals=runs.signals,
            executor=runs.executor,
            overview=self._overview(),
            bundle_state=space.bundle_state,
            sandbox=runs.sandbox,
            mailer=build_mailer(settings.smtp_address, settings.mail_sender),
            audit=stores.audit,
            rates=stores.rates,
        )

    def _uploads(self) -> Uploads:
        return Uploads(
            store=self.stores.uploads,
            content=self.stores.content,
            clock=self.ground.clock,
            ids=self.ground.ids,
            folder=self.ground.folder.unfinished,
        )

    def _sharing(self) -> Sharing:
        return Sharing(
            shares=self.stores.shares,
            workspace=self.space.workspace,
            load_manifest=self.space.load_manifest,
            clock=self.ground.clock,
        )

    def _once(self) -> Once:
        return Once(
            claims=self.stores.claims,
            workspace=self.space.workspace,
            clock=self.ground.clock,
            owner=secrets.token_hex(16),  # names this life of the server
        )

    def _overview(self) -> OverviewReader:
        return OverviewReader(
            catalogue=self.runs.catalogue,
            runs=self.stores.runs,
            clock=self.ground.clock,
            sandbox=self.runs.sandbox,
            remote=self.space.remote_state,
            bundles=self.space.bundle_state,
        )
