"""Everything around a run but processes and HTTP: real workspace, stores in memory."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

from dulwich.object_store import commit_tree_changes
from dulwich.objects import Blob, Commit, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo

from lib.auth.accounts import build_accounts
from lib.auth.built_in import BuiltInAccount
from lib.auth.principal import Role
from lib.auth.run_token import mint
from lib.bootstrap import Services
from lib.clock import ManualClock
from lib.ids import Ids
from lib.mail import Outbox
from lib.manifest.loader import load_manifest
from lib.overview import OverviewReader
from lib.runs import state
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
from lib.runs.executor import Executor, Slot
from lib.runs.failure_issues import FailureIssues
from lib.runs.feedback import FeedbackBook
from lib.runs.key_use import KeyUse
from lib.runs.lifecycle import Lifecycle, Runner, StartRequest
from lib.runs.masks import Masks
from lib.runs.preparation import AttemptFolder, Preparation
from lib.runs.promotion import Promotions
from lib.runs.recovery import Recovery
from lib.runs.removal import WorkerRemoval
from lib.runs.retention import Retention
from lib.runs.secret_catalogue import SecretCatalogue
from lib.runs.signals import Bell, RunSignals
from lib.runs.uploads import Announcement, Uploads
from lib.sandbox.port import LiveRun
from lib.sandbox.runtimes import Runtimes
from lib.secrets.content_sealer import ContentSealer
from lib.secrets.keys import KEY_BYTES, Key
from lib.secrets.mask import Mask
from lib.storage.content import ContentStore
from lib.storage.memory import (
    MemoryAccountStore,
    MemoryApprovalStore,
    MemoryAuditStore,
    MemoryBlobReferences,
    MemoryBlobStore,
    MemoryClaimStore,
    MemoryFailureReportStore,
    MemoryFeedbackStore,
    MemoryLogStore,
    MemoryRateStore,
    MemoryRunStore,
    MemorySecretStore,
    MemoryShareStore,
    MemoryUploadStore,
    MemoryWorkerSettingsStore,
)
from lib.storage.records import RunRecord, RunStatus, SandboxReport, Trigger, Upload
from lib.workspace.issues import Issues
from lib.workspace.once import Once
from lib.workspace.registry import Registry
from lib.workspace.sharing import Sharing
from lib.workspace.worker_source import WorkerSource
from lib.workspace.workspace import Author, Workspace
from tests.lib.runs.fake_packages import FakePackages
from tests.lib.runs.fake_sandbox import DEADLINE_SECONDS, FakeSandbox

SEALER = ContentSealer(Key(bytes(range(KEY_BYTES))), workspace_id="default")
OWNER = "srv_test"
PYTHON = Path("/opt/python/bin/python3.11")
AUTHOR = Author(name="ada", email="ada@example.com")
MAIN = Ref(b"refs/heads/main")
LINK = 0o120000


class HeardSignals(RunSignals):
    """Signals that a test can wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []
        self._changed = threading.Condition()

    def notify(self, run_id: str, run: RunRecord | None = None) -> None:
        super().notify(run_id, run)
        self._hear(run_id)

    def notify_progress(self, run_id: str) -> None:
        super().notify_progress(run_id)
        self._hear(run_id)

    def _hear(self, run_id: str) -> None:
        with self._changed:
            self.heard.append(run_id)
            self._changed.notify_all()

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; looks again at each signal."""
        with self._changed:
            assert self._changed.wait_for(holds, DEADLINE_SECONDS), "waited in vain"


class CountedBell(Bell):
    """A bell that counts its rings."""

    def __init__(self) -> None:
        super().__init__()
        self.rings = 0

    def ring(self) -> None:
        self.rings += 1
        super().ring()


class CertainBell(Bell):
    """A bell whose waits end by a ring only, so that no test passes by a timer."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []
        self.waiting = threading.Semaphore(0)

    def wait(self, timeout_seconds: float | None) -> None:
        self.pauses.append(timeout_seconds or 0)
        self.waiting.release()
        super().wait(DEADLINE_SECONDS)

    def until_waiting(self) -> None:
        assert self.waiting.acquire(timeout=DEADLINE_SECONDS)


class RecordedCancels:
    """Whom the lifecycle asked to end a process tree."""

    def __init__(self) -> None:
        self.run_ids: list[str] = []

    def slot(self, _run: RunRecord) -> AbstractContextManager[Slot | None]:
        return nullcontext()

    def cancel(self, run_id: str) -> None:
        self.run_ids.append(run_id)


def refuse_a_thread_once(executor: Executor) -> threading.Event:
    """Have no thread for the next run that the executor begins; return what tells of it."""
    begin, refused = executor._begin, threading.Event()

    def refuse_once(attempt: Attempt) -> None:
        if not refused.is_set():
            refused.set()
            raise RuntimeError("can't start new thread")
        begin(attempt)

    executor._begin = refuse_once  # type: ignore[method-assign]
    return refused


class KnownPeople:
    """Accounts by id and by address."""

    def __init__(self) -> None:
        self.emails: dict[str, str] = {}
        self.disabled: set[str] = set()

    def is_disabled(self, email: str) -> bool:
        return email in self.disabled

    def find_email(self, user_id: str) -> str | None:
        return self.emails.get(user_id)

    def find_user_id(self, email: str) -> str | None:
        return next((each for each, own in self.emails.items() if own == email.lower()), None)


class World:
    """One server's parts; each can be replaced before it is used."""

    def __init__(self, root: Path, workspace: Workspace, clock: ManualClock) -> None:
        self.root = root
        self.clock = clock
        self.outbox = Outbox()
        self.ids = Ids(clock)
        self.workspace = workspace
        self.references = MemoryBlobReferences()
        self.upload_store = MemoryUploadStore(self.references)
        self.shares = MemoryShareStore()
        self.account_store = MemoryAccountStore()
        self.audit = MemoryAuditStore()
        self.rates = MemoryRateStore()
        self.claims = MemoryClaimStore(self.references)
        self.feedback_store = MemoryFeedbackStore(self.references, self.claims)
        self.reports = MemoryFailureReportStore()
        self.logs = MemoryLogStore()
        self.runs = MemoryRunStore(
            self.references,
            self.upload_store,
            self.claims,
            self.feedback_store,
            self.reports,
            self.logs,
        )
        self.settings = MemoryWorkerSettingsStore()
        self.secrets = MemorySecretStore()
        self.blobs = MemoryBlobStore(clock)
        self.content = ContentStore(self.blobs, sealer=SEALER)
        self.bell = CountedBell()
        self.failures = CountedBell()
        self.signals = HeardSignals()
        self.sandbox = FakeSandbox()
        self.cancels = RecordedCancels()
        self.people = KnownPeople()
        self.record_seconds = 0.0
        self.adoptions: list[str] = []
        self.runtimes = Runtimes({"python": PYTHON, "bash": Path("/bin/bash")})
        self.registry = Registry(
            workspace,
            load_manifest=functools.partial(load_manifest, runtimes=self.runtimes.names),
        )
        self.uploads = Uploads(
            store=self.upload_store,
            content=self.content,
            clock=clock,
            ids=self.ids,
            folder=root / "unfinished",
        )
        self.packages = FakePackages()
        self.preparation = Preparation(
            workspace=workspace,
            content=self.content,
            uploads=self.upload_store,
            runtimes=self.runtimes,
            environments=self.packages,
        )

    def use_logs(self, logs: MemoryLogStore) -> None:
        """Keep all lines there from here on."""
        self.logs = self.runs.logs = logs

    @property
    def early_installs(self) -> EarlyInstalls:
        return EarlyInstalls(
            workspace=self.workspace, registry=self.registry, environments=self.packages
        )

    @property
    def runs_folder(self) -> Path:
        return self.root / "runs"

    @property
    def catalogue(self) -> Catalogue:
        return Catalogue(
            registry=self.registry,
            settings=self.settings,
            secrets=self.secrets,
            runs=self.runs,
            clock=self.clock,
        )

    @property
    def masks(self) -> Masks:
        return Masks(registry=self.registry, secrets=self.secrets)

    @property
    def secret_catalogue(self) -> SecretCatalogue:
        return SecretCatalogue(registry=self.registry, store=self.secrets, clock=self.clock)

    @property
    def collection(self) -> Collection:
        return Collection(
            sandbox=self.sandbox,
            content=self.content,
            clock=self.clock,
            ids=self.ids,
        )

    @property
    def collaborators(self) -> Collaborators:
        return Collaborators(
            store=self.runs,
            logs=self.logs,
            secrets=self.secrets,
            registry=self.registry,
            preparation=self.preparation,
            collection=self.collection,
            sandbox=self.sandbox,
            signals=self.signals,
            clock=self.clock,
            runs_folder=self.runs_folder,
            failures=self.failures,
            record_seconds=self.record_seconds,
        )

    @property
    def approvals(self) -> MemoryApprovalStore:
        return MemoryApprovalStore(self.runs)

    @property
    def docket(self) -> Docket:
        return Docket(store=self.approvals, signals=self.signals, bell=self.bell)

    @property
    def follow_ups(self) -> FollowUps:
        return FollowUps(
            catalogue=self.catalogue, content=self.content, clock=self.clock, ids=self.ids
        )

    @property
    def expiry(self) -> Expiry:
        return Expiry(
            store=self.approvals,
            docket=self.docket,
            runs=self.runs,
            follow_ups=self.follow_ups,
            clock=self.clock,
        )

    @property
    def decisions(self) -> Approvals:
        return Approvals(
            store=self.approvals,
            docket=self.docket,
            runs=self.runs,
            expiry=self.expiry,
            follow_ups=self.follow_ups,
            content=self.content,
            masks=self.masks,
            people=self.people,
            clock=self.clock,
        )

    @property
    def review_links(self) -> ReviewLinks:
        return ReviewLinks(
            store=self.approvals,
            docket=self.docket,
            runs=self.runs,
            people=self.people,
            clock=self.clock,
            ids=self.ids,
        )

    def lifecycle(self, runner: Runner | None = None) -> Lifecycle:
        return Lifecycle(
            catalogue=self.catalogue,
            registry=self.registry,
            store=self.runs,
            approvals=self.approvals,
            uploads=self.upload_store,
            content=self.content,
            clock=self.clock,
            ids=self.ids,
            bell=self.bell,
            signals=self.signals,
            runner=runner or self.cancels,
        )

    def adopt(self, run: RunRecord, live: LiveRun, mask: Mask) -> None:
        """Take a live run over, as the executor would."""
        self.adoptions.append(run.id)

    def recovery(self, *, same_boot: bool = True) -> Recovery:
        return Recovery(
            store=self.runs,
            logs=self.logs,
            registry=self.registry,
            collection=self.collection,
            masks=self.masks,
            sandbox=self.sandbox,
            clock=self.clock,
            signals=self.signals,
            bell=self.bell,
            failures=self.failures,
            runs_folder=self.runs_folder,
            same_boot=same_boot,
        )

    def executor(self, *, max_runs: int = 2, **options: Any) -> Executor:
        collaborators = self.collaborators
        return Executor(
            store=self.runs,
            attempt=functools.partial(Attempt, collaborators=collaborators),
            bell=self.bell,
            signals=self.signals,
            clock=self.clock,
            owner=OWNER,
            sandbox=self.sandbox,
            max_runs=max_runs,
            **options,
        )

    @property
    def feedback(self) -> FeedbackBook:
        return FeedbackBook(
            runs=self.runs,
            store=self.feedback_store,
            content=self.content,
            clock=self.clock,
            ids=self.ids,
        )

    @property
    def issues(self) -> Issues:
        return Issues(self.workspace, clock=self.clock, ids=self.ids)

    def promotions(self) -> Promotions:
        return Promotions(
            book=self.feedback,
            store=self.feedback_store,
            runs=self.runs,
            issues=self.issues,
            workspace=self.workspace,
            masks=self.masks,
            clock=self.clock,
        )

    def failure_issues(self) -> FailureIssues:
        return FailureIssues(
            runs=self.runs,
            reports=self.reports,
            issues=self.issues,
            workspace=self.workspace,
            masks=self.masks,
            clock=self.clock,
            bell=self.failures,
        )

    @property
    def worker_source(self) -> WorkerSource:
        return WorkerSource(self.workspace, load_manifest=load_manifest)

    def removal(self, executor: Executor | None = None) -> WorkerRemoval:
        return WorkerRemoval(
            source=self.worker_source,
            workspace=self.workspace,
            lifecycle=self.lifecycle(executor),
            runs=self.runs,
            settings=self.settings,
            shares=self.shares,
            clock=self.clock,
        )

    def retention(self, *, days: int = 90, reclaim: Callable[[], None] = lambda: None) -> Retention:
        return Retention(
            store=self.runs,
            claims=self.claims,
            accounts=self.account_store,
            logs=self.logs,
            uploads=self.upload_store,
            audit=self.audit,
            rates=self.rates,
            blobs=self.blob_sweep(),
            clock=self.clock,
            days=days,
            reclaim=reclaim,
        )

    def blob_sweep(self) -> BlobSweep:
        return BlobSweep(content=self.content, references=self.references, clock=self.clock)

    def overview(self) -> OverviewReader:
        return OverviewReader(
            catalogue=self.catalogue,
            runs=self.runs,
            clock=self.clock,
            sandbox=self.sandbox,
        )

    def services(self, executor: Executor | None = None) -> Services:
        return Services(
            base_url="http://localhost:8000",
            clock=self.clock,
            accounts=build_accounts(
                self.account_store,
                built_in=BuiltInAccount(
                    secret=None, shared_secret_role=Role.MEMBER, key=Key(bytes(KEY_BYTES))
                ),
                clock=self.clock,
                ids=self.ids,
            ),
            runs=self.runs,
            logs=self.logs,
            approval_store=self.approvals,
            approvals=self.decisions,
            review_links=self.review_links,
            feedback=self.feedback,
            promotions=self.promotions(),
            content=self.content,
            uploads=self.uploads,
            worker_settings=self.settings,
            secrets=self.secret_catalogue,
            masks=self.masks,
            workspace=self.workspace,
            registry=self.registry,
            catalogue=self.catalogue,
            lifecycle=self.lifecycle(executor),
            worker_source=self.worker_source,
            worker_removal=self.removal(executor),
            sharing=Sharing(
                shares=self.shares,
                workspace=self.workspace,
                load_manifest=load_manifest,
                clock=self.clock,
            ),
            load_manifest=load_manifest,
            issues=self.issues,
            once=Once(
                claims=self.claims, workspace=self.workspace, clock=self.clock, owner="a life"
            ),
            early_installs=self.early_installs,
            signals=self.signals,
            executor=executor or self.executor(),
            overview=self.overview(),
            bundle_state=lambda: None,
            sandbox=self.sandbox,
            mailer=self.outbox,
            audit=self.audit,
            rates=self.rates,
        )

    def write_worker(self, worker_id: str, manifest: str = "", **files: str) -> Path:
        """Write a worker's folder by hand; `run_py` means run.py."""
        folder = self.root / "workspace" / "workers" / worker_id
        folder.mkdir(parents=True, exist_ok=True)
        head = (
            f'schema_version: "0.3"\nname: {worker_id}\ntitle: {worker_id.title()}\n'
            "description: A worker of a test.\nversion: 1.0.0\n"
        )
        (folder / "worker.yml").write_text(head + manifest)
        for name, text in {"run_py": "", **files}.items():
            (folder / name.replace("_", ".")).write_text(text)
        return folder

    def add_worker(self, worker_id: str = "plain", manifest: str = "", **files: str) -> str:
        """Write a worker and take it over; return its id."""
        self.write_worker(worker_id, manifest, **files)
        self.reload()
        return worker_id

    def remove_worker(self, worker_id: str) -> None:
        """Delete a worker's folder by hand and take that over."""
        shutil.rmtree(self.root / "workspace/workers" / worker_id)
        self.reload()

    def reload(self) -> None:
        """Take over what is on disk."""
        self.workspace.reload(AUTHOR, force=True)

    def push(self, path: str, data: bytes, mode: int) -> None:
        """Add one entry by git alone, as a push would; the folder on disk plays no part."""
        with Repo(str(self.root / "workspace")) as repository:
            store, refs = repository.object_store, repository.refs
            tip = refs[MAIN]
            parent = store[tip]
            assert isinstance(parent, Commit)
            tree = store[parent.tree]
            assert isinstance(tree, Tree)
            blob = Blob.from_string(data)
            commit = Commit()
            commit.tree = commit_tree_changes(store, tree.id, [(os.fsencode(path), mode, blob.id)])
            commit.parents = [tip]
            commit.author = commit.committer = b"Eve <eve@example.com>"
            commit.author_time = commit.commit_time = int(self.clock.now().timestamp())
            commit.author_timezone = commit.commit_timezone = 0
            commit.message = b"Add an entry"
            store.add_object(blob)
            store.add_object(commit)
            refs[MAIN] = commit.id

    def start(
        self,
        worker_id: str = "plain",
        *,
        key: KeyUse[RunRecord] | None = None,
        priority: int = 5,
        **inputs: Any,
    ) -> RunRecord:
        """Queue a run a millisecond later than the one before."""
        self.clock.advance(milliseconds=1)
        request = StartRequest(
            worker_id=worker_id,
            inputs=inputs,
            trigger=Trigger("manual", None, "ada"),
            priority=priority,
            key=key,
        )
        created = self.lifecycle().start(request).run
        assert created is not None
        return created

    def claim(self, run: RunRecord, owner: str = OWNER) -> RunRecord:
        """Lease a queued run for 30 seconds."""
        now = self.clock.now()
        started = state.Started(owner, now + timedelta(seconds=30), "local", SandboxReport())
        return self.runs.change(run.id, lambda each: state.transition(each, started, now))

    def claimed(self, worker_id: str = "plain", **inputs: Any) -> RunRecord:
        """Start a run and lease it."""
        return self.claim(self.start(worker_id, **inputs))

    def settle(self, run: RunRecord, event: state.Event) -> RunRecord:
        """Apply an event of the state machine."""
        return self.runs.change(
            run.id, lambda each: state.transition(each, event, self.clock.now())
        )

    def attempt(self, run: RunRecord) -> Attempt:
        return Attempt(run, self.collaborators, token=mint(run.id))

    def folder(self, run: RunRecord, *, made: bool = False) -> AttemptFolder:
        """Return the folder of a run's claim; `made` with an empty `out/`."""
        folder = AttemptFolder.of(self.runs_folder, run)
        if made:
            folder.create()
            (folder.work / "out").mkdir()
        return folder

    def executed(self, worker_id: str = "plain", **inputs: Any) -> RunRecord:
        """Start, claim and execute a run on this thread; return it as it is then."""
        run = self.claimed(worker_id, **inputs)
        self.execute(run)
        return self.runs.get(run.id)

    def execute(self, run: RunRecord) -> None:
        """Execute a claimed run on this thread."""
        execute(self.attempt(run))

    def status(self, run: RunRecord) -> RunStatus:
        return self.runs.get(run.id).status

    def until(self, run: RunRecord, *statuses: RunStatus) -> RunRecord:
        """Wait until a run has one of these statuses."""
        self.signals.until(lambda: self.status(run) in statuses)
        return self.runs.get(run.id)

    def upload(self, data: bytes = b"a,b\n", name: str = "data.csv", **fields: Any) -> Upload:
        """Announce and send an upload."""
        announced = self.announce(data, name, **fields)
        with self.uploads.receive(announced) as receiver:
            receiver.write(data)
            return self.uploads.keep(receiver)

    def announce(self, data: bytes, name: str = "data.csv", **fields: Any) -> Upload:
        """Announce an upload of these bytes."""
        announcement: dict[str, Any] = {
            "name": name,
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "media_type": "text/csv",
            **fields,
        }
        return self.uploads.announce(Announcement(**announcement), by="ada")

    def blob_keys(self) -> set[str]:
        """Return the SHA-256 of every blob."""
        return {blob.key.rpartition("/")[2] for blob in self.blobs.list("sha256/")}

    def inputs_of(self, run: RunRecord) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.content.load_json(run.inputs))
        return values

    def outputs_of(self, run: RunRecord) -> dict[str, Any]:
        assert run.outputs is not None
        values: dict[str, Any] = json.loads(self.content.load_json(run.outputs))
        return values

    def put(self, data: bytes) -> str:
        """Store a blob that nobody names yet."""
        return self.content.put_stream(io.BytesIO(data))[0]


def execute(attempt: Attempt) -> None:
    """Do what the executor does on a run's thread."""
    attempt.execute()
    attempt.tidy_up()


@contextmanager
def open_world(root: Path) -> Iterator[World]:
    """Open a workspace without workers, and stores without anything."""
    clock = ManualClock()
    workspace = Workspace.open(
        root / "workspace",
        state_dir=root / "state",
        engine_root=root / "engine",
        seed=None,
        clock=clock,
    )
    try:
        yield World(root, workspace, clock)
    finally:
        workspace.close()
