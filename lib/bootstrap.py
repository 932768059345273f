"""The composition root: settings become services, an application, an engine.

The only module that knows which adapter stands behind a port. Nothing is
created at import.
"""

from __future__ import annotations

import functools
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from lib.auth.accounts import Accounts, build_accounts
from lib.auth.authenticator import Authenticator
from lib.auth.built_in import BuiltInAccount
from lib.auth.credentials import ACCESS_TOKEN_PREFIX, RUN_TOKEN_PREFIX
from lib.auth.principal import Role
from lib.auth.run_token import RunTokens
from lib.auth.users import Users
from lib.clock import Clock, SystemClock
from lib.data_folder import DataFolder, DataFolderError, database_of
from lib.environments.build import Workshop
from lib.environments.environments import Environments
from lib.environments.installer_settings import InstallerSettings
from lib.environments.installers import find_installers
from lib.environments.store import EnvironmentStore
from lib.git_address import parse_address
from lib.ids import Ids
from lib.mail import Mailer, build_mailer
from lib.manifest.loader import load_manifest
from lib.overview import OverviewReader
from lib.runs.approvals.approvals import Approvals
from lib.runs.approvals.docket import Docket
from lib.runs.approvals.expiry import Expiry
from lib.runs.approvals.follow_ups import FollowUps
from lib.runs.approvals.review_links import ReviewLinks
from lib.runs.attempt import Attempt, Collaborators
from lib.runs.blob_sweep import BlobSweep
from lib.runs.catalogue import Catalogue
from lib.runs.collection import Collection
from lib.runs.dependencies import EarlyInstalls
from lib.runs.engine import Engine
from lib.runs.executor import Executor
from lib.runs.failure_issues import FailureIssues
from lib.runs.feedback import FeedbackBook
from lib.runs.lifecycle import Lifecycle
from lib.runs.masks import Masks
from lib.runs.preparation import Preparation
from lib.runs.promotion import Promotions
from lib.runs.recovery import Recovery
from lib.runs.removal import WorkerRemoval
from lib.runs.retention import Retention
from lib.runs.secret_catalogue import SecretCatalogue
from lib.runs.signals import Bell, RunSignals
from lib.runs.uploads import Uploads
from lib.sandbox.local import LocalSandbox
from lib.sandbox.port import Sandbox
from lib.sandbox.runtimes import Runtimes, base_python
from lib.secrets.keys import Key, KeyFolder
from lib.secrets.store import open_secrets
from lib.settings import Settings, load_settings
from lib.storage.content import ContentStore
from lib.storage.ports import (
    AccountStore,
    ApprovalStore,
    AuditStore,
    LogStore,
    RateStore,
    RunStore,
    WorkerSettingsStore,
)
from lib.web.app import App, create_app
from lib.web.aws import LambdaHandler, lambda_adapter
from lib.web.route import Route
from lib.web.shutdown import Shutdown
from lib.workspace.bundle_sync import Bundles, BundleState
from lib.workspace.issues import Issues
from lib.workspace.once import Once
from lib.workspace.registry import ManifestLoader, Registry
from lib.workspace.remote.git_command import OWN_BRANCHES, GitCommand
from lib.workspace.remote.memory import Memory
from lib.workspace.remote.origin import RemoteOrigin
from lib.workspace.remote.remote_sync import RemoteSync
from lib.workspace.sharing import Sharing
from lib.workspace.worker_source import WorkerSource
from lib.workspace.workspace import Workspace

ENGINE_ROOT: Final = Path(__file__).resolve().parent.parent
SHIPPED_WORKERS: Final = ENGINE_ROOT / "workers"
DOTENV: Final = ENGINE_ROOT / ".env"


@dataclass(frozen=True)
class Services:
    """What resources are given."""

    base_url: str
    clock: Clock
    accounts: Accounts
    runs: RunStore
    logs: LogStore
    approval_store: ApprovalStore
    approvals: Approvals
    review_links: ReviewLinks
    feedback: FeedbackBook
    promotions: Promotions
    content: ContentStore
    uploads: Uploads
    worker_settings: WorkerSettingsStore
    secrets: SecretCatalogue
    masks: Masks
    workspace: Workspace
    registry: Registry
    catalogue: Catalogue
    lifecycle: Lifecycle
    worker_source: WorkerSource
    worker_removal: WorkerRemoval
    issues: Issues
    sharing: Sharing
    load_manifest: ManifestLoader
    once: Once
    early_installs: EarlyInstalls
    signals: RunSignals
    executor: Executor
    overview: OverviewReader
    bundle_state: Callable[[], BundleState | None]
    sandbox: Sandbox
    mailer: Mailer
    audit: AuditStore
    rates: RateStore


class Local:
    """Everything of one server on one machine; closed in reverse order of its making.

    Attributes:
        services: For the resources.
        engine: Executes runs; start it once, stop it before `close`.
        api_socket: Where runs reach the application, by way of their gates.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self._exit = ExitStack()
        try:
            parts = _LocalParts(settings, clock or SystemClock(), self._exit)
            self.services = parts.services()
            self.engine = parts.engine()
            if parts.bundles is not None:
                parts.bundles.start()
            if parts.remote is not None:
                parts.remote.start()
            self.api_socket = parts.folder.api_socket
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


class _LocalStores:
    """SQLite and files under the data folder."""

    def __init__(
        self, settings: Settings, folder: DataFolder, clock: Clock, on_exit: ExitStack
    ) -> None:
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

        self.database = SqliteDatabase(folder.database)
        threading.Thread(target=self.database.take_room, daemon=True).start()
        on_exit.callback(self.database.close)
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
        self.content = ContentStore(FileBlobStore(folder.blobs, clock=clock), sealer=opened.sealer)


class _LocalParts:
    """The parts of a local server, made in order."""

    def __init__(self, settings: Settings, clock: Clock, on_exit: ExitStack) -> None:
        self.settings = settings
        self.clock = clock
        self.ids = Ids(clock)
        self.life = secrets.token_hex(16)  # names this life of the server
        self.folder = DataFolder(settings.data_dir, clock=clock)
        on_exit.callback(self.folder.close)
        self.stores = _LocalStores(settings, self.folder, clock, on_exit)
        self.runtimes = Runtimes.find()
        self.git = self._git()
        self.bundles = self._bundles()
        if self.bundles is not None:
            on_exit.callback(self.bundles.close)  # after the workspace, whose last commits it takes
        self.workspace = self._open_workspace()
        on_exit.callback(self.workspace.close)
        if self.bundles is not None:
            on_exit.callback(self.bundles.stop)
        self.remote = self._remote()
        if self.remote is not None:
            on_exit.callback(self.remote.close)
        self.load_manifest = functools.partial(load_manifest, runtimes=self.runtimes.names)
        self.registry = Registry(self.workspace, load_manifest=self.load_manifest)
        self.sandbox = self._sandbox()
        on_exit.callback(self.sandbox.close)
        self.sandbox.prepare()
        self.environments = self._environments()
        self.early_installs = EarlyInstalls(
            workspace=self.workspace, registry=self.registry, environments=self.environments
        )
        on_exit.callback(self.early_installs.close)
        self.masks = Masks(registry=self.registry, secrets=self.stores.secrets)
        self.bell = Bell()
        self.failures = Bell()
        self.signals = RunSignals()
        self.catalogue = self._catalogue()
        self.collection = self._collection()
        self.executor = self._executor()
        self.docket = Docket(store=self.stores.approvals, signals=self.signals, bell=self.bell)
        self.follow_ups = FollowUps(
            catalogue=self.catalogue, content=self.stores.content, clock=clock, ids=self.ids
        )
        self.people = Users(self.stores.accounts)
        self.expiry = Expiry(
            store=self.stores.approvals,
            docket=self.docket,
            runs=self.stores.runs,
            follow_ups=self.follow_ups,
            clock=clock,
        )
        self.lifecycle = self._lifecycle()
        self.worker_source = WorkerSource(self.workspace, load_manifest=self.load_manifest)
        self.issues = Issues(self.workspace, clock=clock, ids=self.ids)
        self.feedback = self._feedback()
        self.removal = WorkerRemoval(
            source=self.worker_source,
            workspace=self.workspace,
            lifecycle=self.lifecycle,
            runs=self.stores.runs,
            settings=self.stores.worker_settings,
            shares=self.stores.shares,
        )

    def services(self) -> Services:
        return Services(
            base_url=self.settings.base_url,
            clock=self.clock,
            accounts=accounts_of(
                self.settings,
                self.stores.accounts,
                key=self.stores.server_key,
                clock=self.clock,
            ),
            runs=self.stores.runs,
            logs=self.stores.logs,
            approval_store=self.stores.approvals,
            approvals=self._approvals(),
            review_links=ReviewLinks(
                store=self.stores.approvals,
                docket=self.docket,
                runs=self.stores.runs,
                people=self.people,
                clock=self.clock,
                ids=self.ids,
            ),
            feedback=self.feedback,
            promotions=self._promotions(),
            content=self.stores.content,
            uploads=self._uploads(),
            worker_settings=self.stores.worker_settings,
            secrets=SecretCatalogue(
                registry=self.registry, store=self.stores.secrets, clock=self.clock
            ),
            masks=self.masks,
            workspace=self.workspace,
            registry=self.registry,
            catalogue=self.catalogue,
            lifecycle=self.lifecycle,
            worker_source=self.worker_source,
            worker_removal=self.removal,
            issues=self.issues,
            sharing=Sharing(
                shares=self.stores.shares,
                workspace=self.workspace,
                load_manifest=self.load_manifest,
                clock=self.clock,
            ),
            load_manifest=self.load_manifest,
            once=Once(
                claims=self.stores.claims,
                workspace=self.workspace,
                clock=self.clock,
                owner=self.life,
            ),
            early_installs=self.early_installs,
            signals=self.signals,
            executor=self.executor,
            overview=self._overview(),
            bundle_state=self._bundle_state,
            sandbox=self.sandbox,
            mailer=build_mailer(self.settings.smtp_address, self.settings.mail_sender),
            audit=self.stores.audit,
            rates=self.stores.rates,
        )

    def engine(self) -> Engine:
        recovery = Recovery(
            store=self.stores.runs,
            logs=self.stores.logs,
            registry=self.registry,
            collection=self.collection,
            masks=self.masks,
            sandbox=self.sandbox,
            clock=self.clock,
            signals=self.signals,
            bell=self.bell,
            failures=self.failures,
            runs_folder=self.folder.runs,
            same_boot=self.folder.same_boot,
        )
        retention = Retention(
            store=self.stores.runs,
            claims=self.stores.claims,
            accounts=self.stores.accounts,
            logs=self.stores.logs,
            uploads=self.stores.uploads,
            audit=self.stores.audit,
            rates=self.stores.rates,
            blobs=BlobSweep(
                content=self.stores.content, references=self.stores.references, clock=self.clock
            ),
            clock=self.clock,
            days=self.settings.retention_days,
            reclaim=self.stores.database.reclaim,
        )
        return Engine(
            owner=self.folder.owner,
            executor=self.executor,
            recovery=recovery,
            retention=retention,
            removal=self.removal,
            failures=self._failure_issues(),
            expiry=self.expiry,
        )

    def _approvals(self) -> Approvals:
        return Approvals(
            store=self.stores.approvals,
            docket=self.docket,
            runs=self.stores.runs,
            expiry=self.expiry,
            follow_ups=self.follow_ups,
            content=self.stores.content,
            masks=self.masks,
            people=self.people,
            clock=self.clock,
        )

    def _catalogue(self) -> Catalogue:
        return Catalogue(
            registry=self.registry,
            settings=self.stores.worker_settings,
            secrets=self.stores.secrets,
            runs=self.stores.runs,
            clock=self.clock,
        )

    def _collection(self) -> Collection:
        return Collection(
            sandbox=self.sandbox,
            content=self.stores.content,
            clock=self.clock,
            ids=self.ids,
        )

    def _open_workspace(self) -> Workspace:
        return Workspace.open(
            self.settings.workspace_path,
            state_dir=self.folder.path,
            engine_root=ENGINE_ROOT,
            seed=SHIPPED_WORKERS,
            clock=self.clock,
            publish=self.bundles.attach if self.bundles is not None else None,
            origin=RemoteOrigin(self.git, self._memory(self.git)) if self.git else None,
        )

    def _bundles(self) -> Bundles | None:
        address = self.settings.bundle_store
        if address is None:
            return None
        from lib.storage.blob_stores import open_blob_store

        return Bundles(
            open_blob_store(address, clock=self.clock),
            address=address,
            workspace_id=self.settings.workspace_id,
            clock=self.clock,
            refresh_seconds=self.settings.bundle_refresh_seconds,
        )

    def _bundle_state(self) -> BundleState | None:
        return self.bundles.state() if self.bundles is not None else None

    def _memory(self, git: GitCommand) -> Memory:
        return Memory(self.settings.workspace_path / ".git/floom/remote.json", git.address.url)

    def _git(self) -> GitCommand | None:
        remote = self.settings.git_remote
        if remote is None:
            return None
        return GitCommand(
            self.settings.workspace_path / ".git",
            parse_address(remote.get_secret_value()),
            variables=self.settings.git_variables,
        )

    def _remote(self) -> RemoteSync | None:
        if self.git is None:
            return None
        return RemoteSync(
            workspace=self.workspace,
            git=self.git,
            memory=self._memory(self.git),
            branch=f"{OWN_BRANCHES}{self.settings.workspace_id}",
            clock=self.clock,
        )

    def _sandbox(self) -> LocalSandbox:
        return LocalSandbox(
            self.folder.sandbox,
            mode=self.settings.sandbox_mode,
            runtimes=self.runtimes.programs.values(),
            hidden=(self.folder.path, self.settings.workspace_path),
            runs=self.folder.runs,
            api_socket=self.folder.api_socket,
        )

    def _environments(self) -> Environments:
        settings = InstallerSettings(self.settings.installer_variables)
        return Environments(
            EnvironmentStore(self.folder.environments),
            installers=find_installers(settings, base_python()),
            workshop=Workshop(
                python=base_python(),
                isolation=self.settings.sandbox_mode,
                hidden=(str(ENGINE_ROOT), str(self.folder.path), str(self.settings.workspace_path)),
                mask=settings.mask,
            ),
        )

    def _executor(self) -> Executor:
        collaborators = Collaborators(
            store=self.stores.runs,
            logs=self.stores.logs,
            secrets=self.stores.secrets,
            registry=self.registry,
            preparation=Preparation(
                workspace=self.workspace,
                content=self.stores.content,
                uploads=self.stores.uploads,
                runtimes=self.runtimes,
                environments=self.environments,
            ),
            collection=self.collection,
            sandbox=self.sandbox,
            signals=self.signals,
            clock=self.clock,
            runs_folder=self.folder.runs,
            failures=self.failures,
        )
        return Executor(
            store=self.stores.runs,
            attempt=functools.partial(Attempt, collaborators=collaborators),
            bell=self.bell,
            signals=self.signals,
            clock=self.clock,
            owner=self.folder.owner,
            sandbox=self.sandbox,
            max_runs=self.settings.max_concurrent_runs,
        )

    def _lifecycle(self) -> Lifecycle:
        return Lifecycle(
            catalogue=self.catalogue,
            registry=self.registry,
            store=self.stores.runs,
            approvals=self.stores.approvals,
            uploads=self.stores.uploads,
            content=self.stores.content,
            clock=self.clock,
            ids=self.ids,
            bell=self.bell,
            signals=self.signals,
            runner=self.executor,
        )

    def _feedback(self) -> FeedbackBook:
        return FeedbackBook(
            runs=self.stores.runs,
            store=self.stores.feedback,
            content=self.stores.content,
            clock=self.clock,
            ids=self.ids,
        )

    def _promotions(self) -> Promotions:
        return Promotions(
            book=self.feedback,
            store=self.stores.feedback,
            runs=self.stores.runs,
            issues=self.issues,
            workspace=self.workspace,
            masks=self.masks,
            clock=self.clock,
        )

    def _failure_issues(self) -> FailureIssues:
        return FailureIssues(
            runs=self.stores.runs,
            reports=self.stores.failure_reports,
            issues=self.issues,
            workspace=self.workspace,
            masks=self.masks,
            clock=self.clock,
            bell=self.failures,
        )

    def _uploads(self) -> Uploads:
        return Uploads(
            store=self.stores.uploads,
            content=self.stores.content,
            clock=self.clock,
            ids=self.ids,
            folder=self.folder.unfinished,
        )

    def _overview(self) -> OverviewReader:
        return OverviewReader(
            catalogue=self.catalogue,
            runs=self.stores.runs,
            clock=self.clock,
            sandbox=self.sandbox,
            remote=self.remote.state if self.remote is not None else lambda: None,
            bundles=self._bundle_state,
        )


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


def build_app(
    settings: Settings, services: Services, routes: Sequence[Route], shutdown: Shutdown
) -> App:
    """Return the application of these routes under these settings."""
    secret = settings.secret.get_secret_value() if settings.secret else None
    return create_app(
        routes,
        authenticator=Authenticator(
            secret=secret,
            shared_secret_role=Role(settings.shared_secret_role),
            bearers={
                RUN_TOKEN_PREFIX: RunTokens(services.runs).check,
                ACCESS_TOKEN_PREFIX: services.accounts.tokens.check,
            },
            session=services.accounts.sessions.check,
        ),
        clock=services.clock,
        public_url=settings.base_url,
        allowed_hosts=settings.allowed_hosts,
        trusted_proxies=settings.trusted_proxies,
        shutdown=shutdown,
        audit=services.audit,
        rates=services.rates if settings.are_rates_limited else None,
    )


def lambda_handler(
    routes: Callable[[Services], list[Route]],
    *,
    build: Callable[[], tuple[Settings, Services]] | None = None,
) -> LambdaHandler:
    """Return a Lambda handler of one route group.

    Settings, services and application are made on the first call and kept: a
    cold start pays for them, an import does not.

    Args:
        routes: The group's `routes`.
        build: Makes settings and services; by default from the environment.
    """

    @functools.cache
    def adapter() -> LambdaHandler:
        settings, services = (build or _build_from_environment)()
        return lambda_adapter(build_app(settings, services, routes(services), Shutdown()))

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        return adapter()(event, context)

    return handler


def _build_from_environment() -> tuple[Settings, Services]:
    settings = load_settings(dotenv=DOTENV)
    return settings, Local(settings).services
