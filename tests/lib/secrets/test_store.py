"""The encrypted store: which key, proven when, and what reaches the disk."""

from __future__ import annotations

import sqlite3  # noqa: TID251 - looks into our file
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lib.secrets.cipher import SecretUnreadable
from lib.secrets.keys import KeyFolder, KeyUnusable
from lib.secrets.store import EncryptedSecretStore, Secrets, open_secrets
from lib.storage.ports import StoreUnavailable
from lib.storage.sqlite import SqliteDatabase, SqliteSealedSecretStore
from tests.contract.samples import START
from tests.e2e.server import ROOT

VALUE = "a value that is nowhere else"
ONE, OTHER = "11" * 32, "22" * 32


class Place:
    """One data folder's database and keys."""

    def __init__(self, folder: Path, database: SqliteDatabase) -> None:
        self.folder = folder
        self.keys = KeyFolder(folder / "keys")
        self.records = SqliteSealedSecretStore(database)

    def open(self, given: str | None = None, workspace_id: str = "default") -> EncryptedSecretStore:
        return self.open_all(given, workspace_id).store

    def open_all(self, given: str | None = None, workspace_id: str = "default") -> Secrets:
        return open_secrets(self.records, keys=self.keys, given=given, workspace_id=workspace_id)

    @property
    def key_file(self) -> Path:
        return self.keys.file("secrets")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with SqliteDatabase(tmp_path / "floom.sqlite3") as database:
        yield Place(tmp_path, database)


def test_a_new_store_makes_a_key_and_finds_it_again(place: Place) -> None:
    place.open().put("API_KEY", VALUE, at=START)
    assert place.key_file.exists()
    assert place.open().values(["API_KEY"]) == {"API_KEY": VALUE}


def test_a_given_key_needs_no_file(place: Place) -> None:
    place.open(ONE).put("API_KEY", VALUE, at=START)
    assert not place.key_file.exists()
    assert place.open(ONE.upper()).values(["API_KEY"]) == {"API_KEY": VALUE}


def test_a_given_key_wins_over_the_file(place: Place) -> None:
    place.open()
    place.open(ONE).put("API_KEY", VALUE, at=START)
    assert place.key_file.exists()
    assert place.open(ONE).values(["API_KEY"]) == {"API_KEY": VALUE}
    with pytest.raises(KeyUnusable, match=r"secrets\.key is not the key"):
        place.open()


def test_the_file_s_key_may_be_moved_into_the_setting(place: Place) -> None:
    place.open().put("API_KEY", VALUE, at=START)
    given = place.key_file.read_text().strip()
    place.key_file.unlink()
    assert place.open(given).values(["API_KEY"]) == {"API_KEY": VALUE}


def test_secrets_without_their_key_are_refused_and_no_new_one_is_made(place: Place) -> None:
    place.open().put("API_KEY", VALUE, at=START)
    place.key_file.unlink()
    with pytest.raises(KeyUnusable, match=r"restore .*secrets\.key or set FLOOM_SECRETS_KEY"):
        place.open()
    assert not place.key_file.exists()


def test_a_wrong_key_is_found_when_the_store_is_opened(place: Place) -> None:
    place.open(ONE).put("API_KEY", VALUE, at=START)
    with pytest.raises(KeyUnusable, match="FLOOM_SECRETS_KEY is not the key") as failure:
        place.open(OTHER)
    assert OTHER not in str(failure.value)
    assert "\n" not in str(failure.value)


def test_another_workspace_is_found_when_the_store_is_opened(place: Place) -> None:
    place.open(ONE).put("API_KEY", VALUE, at=START)
    with pytest.raises(KeyUnusable, match="another FLOOM_WORKSPACE_ID"):
        place.open(ONE, workspace_id="other")


def test_a_store_whose_last_secret_is_gone_takes_any_key(place: Place) -> None:
    secrets = place.open(ONE)
    secrets.put("A", VALUE, at=START)
    secrets.put("B", VALUE, at=START)
    secrets.delete("A")
    with pytest.raises(KeyUnusable):
        place.open(OTHER)
    secrets.delete("B")
    place.open(OTHER).put("A", VALUE, at=START)
    assert place.open(OTHER).values(["A"]) == {"A": VALUE}
    with pytest.raises(KeyUnusable):
        place.open(ONE)


def test_what_is_sealed_without_any_secret_needs_its_key_for_good(place: Place) -> None:
    """A proposal is lost with the key as a secret is, so the next start must say so."""
    box = place.open_all().sealer.seal(b"a proposal")
    key = place.key_file.read_text()
    place.key_file.unlink()
    with pytest.raises(
        KeyUnusable, match=r"proposals.*restore .*secrets\.key or set FLOOM_SECRETS"
    ):
        place.open_all()
    assert not place.key_file.exists()
    with pytest.raises(KeyUnusable, match="FLOOM_SECRETS_KEY is not the key"):
        place.open_all(OTHER)
    with pytest.raises(KeyUnusable, match="another FLOOM_WORKSPACE_ID"):
        place.open_all(key, "other")
    sealer = place.open_all(key).sealer
    assert sealer.open(box, key_id=sealer.key_id) == b"a proposal"


@pytest.mark.parametrize("sealed_first", [True, False])
def test_the_check_stays_when_the_last_secret_goes(place: Place, sealed_first: bool) -> None:
    opened = place.open_all(ONE)
    if sealed_first:
        opened.sealer.seal(b"a proposal")
    opened.store.put("A", VALUE, at=START)
    opened.sealer.seal(b"another")
    opened.store.delete("A")
    with pytest.raises(KeyUnusable):
        place.open_all(OTHER)
    assert place.open_all(ONE).store.values(["A"]) == {}


def test_the_check_is_on_disk_before_anything_is_sealed(place: Place) -> None:
    opened = place.open_all(ONE)
    assert place.records.find_check() is None  # nothing sealed, nothing written, no library
    with closing(sqlite3.connect(place.folder / "floom.sqlite3")) as connection:
        connection.execute("ALTER TABLE secret_check RENAME TO elsewhere")
        with pytest.raises(StoreUnavailable):
            opened.sealer.seal(b"a proposal")
        connection.execute("ALTER TABLE elsewhere RENAME TO secret_check")
    opened.sealer.seal(b"a proposal")
    assert place.records.find_check() is not None


def test_a_damaged_record_is_named_and_spares_the_others(place: Place) -> None:
    secrets = place.open(ONE)
    for name in ("GOOD", "BAD"):
        secrets.put(name, VALUE, at=START)
    with closing(sqlite3.connect(place.folder / "floom.sqlite3")) as connection:
        connection.execute("UPDATE secrets SET box = zeroblob(40) WHERE name = 'BAD'")
        connection.commit()
    assert place.open(ONE).values(["GOOD"]) == {"GOOD": VALUE}
    with pytest.raises(SecretUnreadable, match="BAD"):
        place.open(ONE).values(["GOOD", "BAD"])


def test_records_that_change_places_do_not_open(place: Place) -> None:
    """Whoever can write the file must not hand one worker the secret of another."""
    secrets = place.open(ONE)
    secrets.put("MINE", VALUE, at=START)
    secrets.put("THEIRS", "another value", at=START)
    with closing(sqlite3.connect(place.folder / "floom.sqlite3")) as connection:
        connection.execute(
            "UPDATE secrets SET (nonce, box) = "
            "(SELECT nonce, box FROM secrets WHERE name = 'THEIRS') WHERE name = 'MINE'"
        )
        connection.commit()
    with pytest.raises(SecretUnreadable, match="MINE"):
        secrets.values(["MINE"])


def test_no_file_holds_a_value(place: Place) -> None:
    """The database and its write-ahead log, after a put, a replacement and a delete."""
    secrets = place.open()
    secrets.put("API_KEY", VALUE, at=START)
    secrets.put("API_KEY", VALUE[::-1], at=START)
    secrets.put("GONE", VALUE, at=START)
    secrets.values(["API_KEY", "GONE"], at=START)
    secrets.delete("GONE")
    files = {path.name: path.read_bytes() for path in place.folder.rglob("*") if path.is_file()}
    assert {"floom.sqlite3", "floom.sqlite3-wal", "secrets.key"} <= files.keys()
    assert b"API_KEY" in b"".join(files.values())  # the search would find what is there
    for data in files.values():
        assert VALUE.encode() not in data
        assert VALUE[::-1].encode() not in data


def test_a_server_without_secrets_does_not_load_the_library() -> None:
    program = (
        "import sys, lib.bootstrap, handlers.registry;"
        "sys.exit(any(name.startswith('cryptography') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
