"""What the composition root gives to resources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lib.auth.accounts import Accounts
from lib.clock import Clock
from lib.mail import Mailer
from lib.overview import OverviewReader
from lib.runs.approvals.approvals import Approvals
from lib.runs.approvals.review_links import ReviewLinks
from lib.runs.catalogue import Catalogue
from lib.runs.dependencies import EarlyInstalls
from lib.runs.executor import Executor
from lib.runs.feedback import FeedbackBook
from lib.runs.lifecycle import Lifecycle
from lib.runs.masks import Masks
from lib.runs.promotion import Promotions
from lib.runs.removal import WorkerRemoval
from lib.runs.secret_catalogue import SecretCatalogue
from lib.runs.signals import RunSignals
from lib.runs.uploads import Uploads
from lib.sandbox.port import Sandbox
from lib.storage.content import ContentStore
from lib.storage.ports import (
    ApprovalStore,
    AuditStore,
    LogStore,
    RateStore,
    RunStore,
    WorkerSettingsStore,
)
from lib.workspace.bundle_sync import BundleState
from lib.workspace.issues import Issues
from lib.workspace.once import Once
from lib.workspace.registry import ManifestLoader, Registry
from lib.workspace.sharing import Sharing
from lib.workspace.worker_source import WorkerSource
from lib.workspace.workspace import Workspace


@dataclass(frozen=True)
class Services:
    """Each resource takes from here, in its initialiser, what it works with."""

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
