"""The folder and the environment of one attempt."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from lib.environments.environment import Environment
from lib.environments.port import Customer, PackageSource
from lib.environments.recipe import InstallError
from lib.manifest.models import Manifest
from lib.runs.dependencies import recipes_of
from lib.runs.folder import UnsafePath, WorkFolder
from lib.sandbox.runtimes import Runtimes
from lib.storage.content import ContentStore
from lib.storage.ports import StoreUnavailable, UploadStore
from lib.storage.records import RunRecord
from lib.workspace.workspace import BundleFile, Workspace

TRIES: Final = 100  # to make a folder beside who removes another
QUICK_FILES: Final = 32
QUICK_BYTES: Final = 1024 * 1024
INPUTS_FILE: Final = "inputs.json"
OUT_FOLDER: Final = "out"
PACKAGES_FILE: Final = "packages.json"  # in the attempt's folder, for a server that adopts it
CONTEXT_FOLDER: Final = "context"
LINK_MODE: Final = 0o120000  # git's mode of a symbolic link
_DISK_IS_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_OWN_NAMES: Final = frozenset({INPUTS_FILE, OUT_FOLDER, "result.json"})  # not of a bundle
EXECUTABLE_MODE: Final = 0o100755


class PreparationError(Exception):
    """The attempt cannot be prepared as the worker needs it; the message says why.

    Attributes:
        code: What the run fails with.
    """

    code = "execution_error"


class RuntimeMissing(PreparationError):
    """This host does not have the interpreter that the worker needs."""

    code = "runtime_missing"


class InstallFailed(PreparationError):
    """The packages that the worker needs are not there."""

    code = "install_failed"


class SecretMissing(PreparationError):
    """A secret was deleted since the run was queued."""

    code = "missing_secret"


class AgentNotSupported(PreparationError):
    """The worker is an agent, which this version does not execute."""

    code = "agent_not_supported"


@dataclass(frozen=True)
class AttemptFolder:
    """`<data>/runs/<run>/<fence>`: `work` for the worker, `meta` for the supervisor."""

    path: Path

    @classmethod
    def of(cls, root: Path, run: RunRecord) -> AttemptFolder:
        """Return the folder of the run's present claim; each claim has its own."""
        return cls(root / run.id / str(run.fence))

    @property
    def work(self) -> Path:
        """The working directory."""
        return self.path / "work"

    @property
    def meta(self) -> Path:
        """What the supervisor writes."""
        return self.path / "meta"

    def create(self) -> None:
        """Make it afresh. Only this user may enter."""
        if not any(self._is_made() for _ in range(TRIES)):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(self.path))
        self.work.mkdir(mode=0o700)
        self.meta.mkdir(mode=0o700)

    def _is_made(self) -> bool:
        """Make the empty folder; False where the one above it was taken away meanwhile.

        That is the run's own, which goes with the last folder in it, while a retry begins.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir()
        except FileExistsError:
            remove_tree(self.path)
            return False
        except FileNotFoundError:
            return False
        return True

    def remove(self) -> None:
        """Remove it with all that a worker left, however deep; idempotent."""
        remove_tree(self.path)
        with contextlib.suppress(OSError):  # another attempt's folder is beside it
            self.path.parent.rmdir()


def remove_tree(path: Path) -> None:
    """Delete a folder and everything in it; no error when it is not there."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except (RecursionError, OSError):  # nested deeper than Python walks, or closed by its modes
        subprocess.run(["chmod", "-R", "u+rwx", "--", str(path)], check=False, env={}, stderr=-3)
        subprocess.run(["rm", "-rf", "--", str(path)], check=False, env={})


class Preparation:
    """Fills attempt folders.

    Args:
        workspace: Where bundles and contexts are read.
        content: Where the bytes of uploads are.
        environments: Installs what workers depend on.
    """

    def __init__(
        self,
        *,
        workspace: Workspace,
        content: ContentStore,
        uploads: UploadStore,
        runtimes: Runtimes,
        environments: PackageSource,
    ) -> None:
        self._workspace = workspace
        self._content = content
        self._uploads = uploads
        self._runtimes = runtimes
        self._environments = environments

    def is_quick(self, run: RunRecord, manifest: Manifest) -> bool:
        """Whether `fill` takes no longer than somebody may wait for it who asked for the run.

        Raises:
            InstallError: what the worker depends on cannot be told.
        """
        if manifest.contexts or any(spec.is_file for spec in manifest.inputs):
            return False
        files = self._workspace.list_files(run.worker_sha, limit=QUICK_FILES + 1)
        if len(files) > QUICK_FILES or sum(file.size for file in files) > QUICK_BYTES:
            return False
        return not recipes_of(self._workspace, run.worker_sha, source_builds=manifest.source_builds)

    @contextmanager
    def installed(
        self, run: RunRecord, manifest: Manifest, customer: Customer
    ) -> Iterator[Environment]:
        """Yield the packages that the worker asks for; they stay until the block ends.

        Raises:
            InstallFailed: they cannot be had.
            InstallCancelled: the customer gave up.
        """
        with contextlib.ExitStack() as lease:
            try:
                recipes = recipes_of(
                    self._workspace, run.worker_sha, source_builds=manifest.source_builds
                )
                found = lease.enter_context(self._environments.prepare(recipes, customer))
            except InstallError as error:
                raise InstallFailed(str(error)) from error
            yield found

    @contextmanager
    def kept(self, folder: AttemptFolder) -> Iterator[None]:
        """Keep the packages of an attempt that runs already until the block ends."""
        try:
            keys = json.loads((folder.path / PACKAGES_FILE).read_text())
        except (OSError, ValueError):  # none is named
            keys = []
        with self._environments.keep(tuple(keys)):
            yield

    def fill(
        self, folder: AttemptFolder, run: RunRecord, manifest: Manifest, packages: Environment
    ) -> None:
        """Write bundle, inputs, links to packages and an empty `out/` into a folder made afresh.

        Raises:
            PreparationError: a file of the bundle, a context or an input
                cannot be placed.
            StoreUnavailable: the disk is full.
        """
        try:
            with WorkFolder(folder.work) as work:
                self._write_bundle(work, run.worker_sha)
                self._write_contexts(work, run.commit, manifest)
                inputs = self._place_files(work, manifest, self._inputs(run))
                work.make_folder(OUT_FOLDER)
                work.write(INPUTS_FILE, _json_bytes(inputs))
            if packages.keys:
                (folder.path / PACKAGES_FILE).write_text(json.dumps(packages.keys))
            for name, target in packages.links:  # the only links that leave the folder
                (folder.work / name).symlink_to(target)
        except UnsafePath as error:
            raise PreparationError(str(error)) from error
        except OSError as error:
            if error.errno in _DISK_IS_FULL:  # no fault of the worker's, and it may pass
                raise StoreUnavailable(
                    f"The run's folder cannot be filled: {error.strerror}."
                ) from error
            where = "" if error.filename is None else f"{error.filename}: "
            raise PreparationError(f"{where}{error.strerror}") from error

    def command(self, manifest: Manifest) -> tuple[str, ...]:
        """Return the command to execute, runtimes as absolute paths.

        Raises:
            AgentNotSupported, RuntimeMissing: this server cannot execute it.
        """
        if manifest.command is None:
            raise AgentNotSupported("Agents are not executed by this version, only scripts are")
        if manifest.runtime not in self._runtimes.names:
            raise RuntimeMissing(
                f"This host has no {manifest.runtime}; install it and restart the server"
            )
        return self._runtimes.command(manifest.command)

    def environment(
        self, run: RunRecord, secrets: Mapping[str, str], packages: Environment
    ) -> dict[str, str]:
        """Return the variables of the process but for those that the sandbox adds."""
        return {
            **secrets,
            **packages.variables,
            "PATH": ":".join([*packages.programs, self._runtimes.search_path]),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONUNBUFFERED": "1",
            "FLOOM_RUN_ID": run.id,
            "FLOOM_WORKER_ID": run.worker_id,
            "FLOOM_ATTEMPT": str(run.attempt),
            "FLOOM_PHASE": "" if run.phase is None else run.phase.value,
            "FLOOM_IDEMPOTENCY_KEY": run.effect_key,
        }

    def _inputs(self, run: RunRecord) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self._content.load_json(run.inputs))
        return values

    def _write_bundle(self, work: WorkFolder, sha: str) -> None:
        work.make_folder(".tmp")
        for file in self._workspace.bundle(sha):
            if file.path.split("/")[0] not in _OWN_NAMES:
                _write_file(work, file)

    def _write_contexts(self, work: WorkFolder, commit: str, manifest: Manifest) -> None:
        """Place shared folders of the workspace, as they were at the run's commit."""
        for context in manifest.contexts:
            if context.source != "local":
                raise PreparationError(f"Context {context.name} comes from outside the workspace")
            tree = self._workspace.view(commit).tree_id(f"contexts/{context.name}")
            if tree is None:
                raise PreparationError(f"The workspace has no context {context.name}")
            for file in self._workspace.bundle(tree):
                path = f"{CONTEXT_FOLDER}/{context.name}/{file.path}"
                _write_file(work, replace(file, path=path))

    def _place_files(
        self, work: WorkFolder, manifest: Manifest, inputs: dict[str, Any]
    ) -> dict[str, Any]:
        """Put each file input where the manifest says; its value becomes that path."""
        placed = dict(inputs)
        for spec in manifest.inputs:
            if spec.is_file and isinstance(inputs.get(spec.name), str):
                upload = self._uploads.get(inputs[spec.name])
                path = spec.path or f"inputs/{spec.name}/{upload.name}"
                with self._content.open(upload.sha256) as source:
                    work.copy_from(path, source)
                placed[spec.name] = path
        return placed


def _write_file(work: WorkFolder, file: BundleFile) -> None:
    try:
        if file.mode == LINK_MODE:
            work.link(file.path, file.data.decode(errors="surrogateescape"))
        elif file.mode & 0o170000 == 0o100000:
            mode = 0o755 if file.mode == EXECUTABLE_MODE else 0o644
            work.write(file.path, file.data, mode=mode)
        else:
            raise UnsafePath("is a submodule, which workers cannot have")
    except UnsafePath as error:
        raise PreparationError(f"{file.path} {error}") from error


def _json_bytes(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
