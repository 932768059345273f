"""Fixtures of the contract suites: each test runs on every adapter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lib.storage.ports import (
    AccountStore,
    ApprovalStore,
    AuditStore,
    BlobReferences,
    BlobStore,
    ClaimStore,
    FailureReportStore,
    FeedbackStore,
    LogStore,
    RateStore,
    RunStore,
    SecretStore,
    ShareStore,
    UploadStore,
    WorkerSettingsStore,
)
from tests.contract.samples import Samples
from tests.contract.stores import BACKENDS, Stores, open_stores


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def samples() -> Samples:
    return Samples()


@pytest.fixture
def stores(backend: str, samples: Samples) -> Iterator[Stores]:
    with open_stores(backend, samples.clock) as stores:
        yield stores


@pytest.fixture
def runs(stores: Stores) -> RunStore:
    return stores.runs


@pytest.fixture
def approvals(stores: Stores) -> ApprovalStore:
    return stores.approvals


@pytest.fixture
def claims(stores: Stores) -> ClaimStore:
    return stores.claims


@pytest.fixture
def feedback(stores: Stores) -> FeedbackStore:
    return stores.feedback


@pytest.fixture
def reports(stores: Stores) -> FailureReportStore:
    return stores.reports


@pytest.fixture
def logs(stores: Stores) -> LogStore:
    return stores.logs


@pytest.fixture
def shares(stores: Stores) -> ShareStore:
    return stores.shares


@pytest.fixture
def uploads(stores: Stores) -> UploadStore:
    return stores.uploads


@pytest.fixture
def references(stores: Stores) -> BlobReferences:
    return stores.references


@pytest.fixture
def worker_settings(stores: Stores) -> WorkerSettingsStore:
    return stores.worker_settings


@pytest.fixture
def secrets(stores: Stores) -> SecretStore:
    return stores.secrets


@pytest.fixture
def blobs(stores: Stores) -> BlobStore:
    return stores.blobs


@pytest.fixture
def audit(stores: Stores) -> AuditStore:
    return stores.audit


@pytest.fixture
def rates(stores: Stores) -> RateStore:
    return stores.rates


@pytest.fixture
def accounts(stores: Stores) -> AccountStore:
    return stores.accounts
