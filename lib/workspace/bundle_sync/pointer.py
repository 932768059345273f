"""`HEAD.json`: which bundles make up the workspace, and the commit they lead to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from lib.workspace.bundle_sync.errors import BundleStoreUnavailable, NewerPointer

VERSION: Final = 1
MAX_POINTER_BYTES: Final = 256 * 1024
RECENT: Final = 32  # tips that a writer in doubt finds itself among
RECENT_DIGITS: Final = 16
TOKEN_BYTES: Final = 6
BUNDLES: Final = "bundles"  # their folder


def _check_time(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time needs its zone")
    return text


_Sha1 = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Token = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
_At = Annotated[str, AfterValidator(_check_time)]
_Count = Annotated[int, Field(ge=0, lt=2**53)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Base(_Record):
    """The bundle that needs no other.

    Attributes:
        key: Of its bundle, below the workspace's prefix.
        tip: The commit that it leads to.
        idx_size: Of its pack index, which is stored beside it.
    """

    key: str = Field(pattern=r"^bundles/[0-9]+-[0-9a-f]{12}\.bundle$")
    seq: _Count
    tip: _Sha1
    size: _Count
    sha256: _Sha256
    idx_size: _Count
    idx_sha256: _Sha256

    @property
    def index_key(self) -> str:
        """Key of its pack index."""
        return self.key.removesuffix(".bundle") + ".idx"


@dataclass(frozen=True, slots=True)
class Signature:
    """Who moves a pointer, and when: for people, and so that no two pointers are the same bytes."""

    writer: str
    at: str


@dataclass(frozen=True, slots=True)
class Increment:
    """A thin bundle on top of the entry before it.

    Attributes:
        level: 0 as it was published; each fold is one higher than what it folds.
        tip: The commit that it leads to.
    """

    level: int
    seq: int
    tip: str
    token: str
    size: int
    sha256: str

    @property
    def key(self) -> str:
        """Of its bundle, below the workspace's prefix."""
        return bundle_key(self.seq, self.token)

    def row(self) -> tuple[int, int, str, str, int, str]:
        """Return it as the pointer's file holds it."""
        return (self.level, self.seq, self.tip, self.token, self.size, self.sha256)


class Pointer(_Record):
    """The state of the workspace. Never changes; a new one takes its place.

    Attributes:
        seq: Grows by one with each move.
        writer: Who moved it last, for people.
        swept_at: When bundles that it does not name were last deleted.
        increments: From the oldest; each builds on the one before, the first on
            the base.
        recent: First digits of the last published tips, the newest last.
    """

    version: Literal[1] = VERSION
    seq: _Count
    tip: _Sha1
    writer: str
    updated_at: _At
    swept_at: _At | None = None
    base: Base
    increments: tuple[tuple[_Count, _Count, _Sha1, _Token, _Count, _Sha256], ...] = ()
    recent: tuple[str, ...] = ()

    @classmethod
    def first(cls, base: Base, by: Signature) -> Pointer:
        """Return the pointer of a new store."""
        return cls(
            seq=base.seq,
            tip=base.tip,
            writer=by.writer,
            updated_at=by.at,
            swept_at=by.at,
            base=base,
            recent=(base.tip[:RECENT_DIGITS],),
        )

    def published(self, increment: Increment, by: Signature) -> Pointer:
        """Return the pointer after new commits."""
        recent = (*self.recent, increment.tip[:RECENT_DIGITS])[-RECENT:]
        return self._moved(
            by,
            seq=increment.seq,
            tip=increment.tip,
            increments=(*self.increments, increment.row()),
            recent=recent,
        )

    def folded(self, folded: Sequence[Increment], into: Increment, by: Signature) -> Pointer | None:
        """Return the pointer with increments replaced by one; None where they are not all there."""
        rows = tuple(each.row() for each in folded)
        places = [at for at, row in enumerate(self.increments) if row == rows[0]]
        if not places or self.increments[places[0] : places[0] + len(rows)] != rows:
            return None
        first, last = places[0], places[0] + len(rows)
        return self._moved(
            by, increments=(*self.increments[:first], into.row(), *self.increments[last:])
        )

    def rebased(self, base: Base, by: Signature) -> Pointer | None:
        """Return the pointer with a new base for all up to its tip; None where that is not there."""
        places = [at for at, each in enumerate(self.chain()) if each.tip == base.tip]
        if not places:
            return None
        return self._moved(by, base=base, increments=self.increments[places[0] + 1 :])

    def swept(self, by: Signature) -> Pointer:
        """Return the pointer that says when unnamed bundles were last deleted."""
        return self._moved(by, swept_at=by.at)

    def _moved(self, by: Signature, **changed: Any) -> Pointer:
        seq = changed.pop("seq", self.seq)
        return self.model_copy(
            update={"seq": seq, "writer": by.writer, "updated_at": by.at, **changed}
        )

    def chain(self) -> tuple[Increment, ...]:
        """Return the increments with names."""
        return tuple(Increment(*each) for each in self.increments)

    def has_published(self, tip: str) -> bool:
        """Return whether a commit is among the newest that were published."""
        return tip[:RECENT_DIGITS] in self.recent

    def keys(self) -> set[str]:
        """Return the keys of all that it names."""
        return {self.base.key, self.base.index_key, *(each.key for each in self.chain())}

    def encode(self) -> bytes:
        """Return the file's bytes."""
        return self.model_dump_json().encode()


def bundle_key(seq: int, token: str) -> str:
    """Return the key of a bundle, below the workspace's prefix."""
    return f"{BUNDLES}/{seq}-{token}.bundle"


def decode(data: bytes) -> Pointer:
    """Read a pointer.

    Raises:
        NewerPointer: a newer version of this program wrote it.
        BundleStoreUnavailable: it is damaged, or does not hold together.
    """
    try:
        return _checked(Pointer.model_validate_json(data))
    except ValidationError as ex:
        version = _version(data)
        if isinstance(version, int) and version > VERSION:
            raise NewerPointer(
                f"The bundle store is at version {version}, this program knows {VERSION}: use the "
                "newer program."
            ) from None
        raise BundleStoreUnavailable(_DAMAGED) from ex


_DAMAGED: Final = (
    "HEAD.json of the bundle store is damaged. Nothing was changed; docs/git-workspace.md says how "
    "to restore it."
)


def _checked(pointer: Pointer) -> Pointer:
    """Return a pointer whose parts lead to its tip, one after another."""
    entries = [pointer.base.seq, *(each.seq for each in pointer.chain())]
    last = pointer.chain()[-1].tip if pointer.increments else pointer.base.tip
    if entries != sorted({*entries}) or entries[-1] > pointer.seq or last != pointer.tip:
        raise BundleStoreUnavailable(_DAMAGED)
    return pointer


def _version(data: bytes) -> Any:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value.get("version") if isinstance(value, dict) else None
