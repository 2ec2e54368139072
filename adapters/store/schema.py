"""The database's file: made, checked, backed up and brought to the newest schema before anybody writes to it.

`user_version` is the number of the last migration that was applied. A migration is one transaction: a crash leaves the
schema before it or the one after it.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from engine.errors import EXIT_LOCKED, DataError, TapewrightError, UsageError

APPLICATION_ID = 0x54504557  # "TPEW", in the file's header: what tells our database from another program's
WAIT_SECONDS = 5.0
"""How long a statement waits for another process's lock."""
PRAGMAS = ("PRAGMA synchronous = FULL", "PRAGMA foreign_keys = ON", "PRAGMA cache_size = -512")
"""What every writing connection sets.

FULL: what is committed is on the disk, whatever happens to the power. A cache of 512 KiB: rows go to the ends of tables
and indexes, and SQLite's own 2 MB take a quarter of an hour to fill, which looks like a leak.
"""
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PRIMARY_CODE = 0xFF  # an extended result code's lowest byte is its primary one


class StoreLockedError(TapewrightError):
    """Another process writes to the database."""

    exit_code = EXIT_LOCKED


class Migration(msgspec.Struct, frozen=True):
    """One numbered file of `migrations/`."""

    number: int
    name: str
    text: str

    def statements(self) -> Iterator[str]:
        """Its statements, one at a time."""
        pending = ""
        for line in self.text.splitlines(keepends=True):
            pending += line
            if sqlite3.complete_statement(pending):
                yield pending
                pending = ""


class Prepared(msgspec.Struct, frozen=True):
    """What `prepare` did: the schema found (0: a new file), the one there is now, the copy made before it changed."""

    version_found: int
    version: int
    backup: Path | None


def migrations() -> tuple[Migration, ...]:
    """Every migration there is, by number."""
    folder = importlib.resources.files("adapters.store") / "migrations"
    files = sorted((each for each in folder.iterdir() if each.name.endswith(".sql")), key=lambda each: each.name)
    found = tuple(Migration(int(each.name[:4]), each.name, each.read_text(encoding="utf-8")) for each in files)
    assert [each.number for each in found] == list(range(1, len(found) + 1)), "migrations are numbered from 1"
    return found


def prepare(path: Path, steps: tuple[Migration, ...] | None = None, *, is_checked: bool = True) -> Prepared:
    """Make the database at `path`, or check it and bring it to the newest schema; an older one is copied first.

    Without `is_checked` one that is of the newest schema already is not read through: that takes longer with every run
    in it, and whoever stores one more run need not pay for all those before.

    Raises DataError where the file is damaged, another program's or of a newer schema, UsageError where it cannot be
    opened or written, StoreLockedError where another process is writing.
    """
    known = migrations() if steps is None else steps
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_open(path, error.strerror or str(error)) from error
    with sqlite_trouble(path), contextlib.closing(connect(path)) as connection:
        found = _version(connection)
        _refuse_foreign(path, connection, found)
        if found > len(known):
            raise DataError(
                f"{path} has schema {found}; this version of Tapewright knows schemas up to {len(known)}",
                remedy="Install the version that wrote it, or a newer one, or name another file for the store.",
            )
        if is_checked or found < len(known):
            _check(path, connection)
        backup = back_up(path, path.with_name(f"{path.name}.schema-{found}")) if 0 < found < len(known) else None
        _use_wal(path, connection)
        for step in known[found:]:
            _apply(connection, step)
        return Prepared(found, _version(connection), backup)


def connect(path: Path, *, wait_seconds: float = WAIT_SECONDS) -> sqlite3.Connection:
    """A connection for reading and writing, in autocommit mode: transactions are only those that are begun."""
    connection = sqlite3.connect(path, timeout=wait_seconds, isolation_level=None)
    try:
        for pragma in PRAGMAS:
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def back_up(path: Path, to: Path) -> Path:
    """Copy the database as it stands, write-ahead log included, to `to`; an older copy of that name is replaced."""
    partial = to.with_name(f".{to.name}.partial")
    with sqlite_trouble(path):
        partial.unlink(missing_ok=True)
        with contextlib.closing(connect(path)) as source, contextlib.closing(sqlite3.connect(partial)) as copy:
            source.backup(copy)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    return partial.replace(to)


@contextlib.contextmanager
def sqlite_trouble(path: Path) -> Iterator[None]:
    """What SQLite raises about the file becomes an error that names it and says what to do."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise  # a row that breaks a rule of the schema is a defect of ours
    except sqlite3.DatabaseError as error:
        raise trouble(path, error) from error
    except OSError as error:
        raise _cannot_open(path, error.strerror or str(error)) from error


def trouble(path: Path, error: sqlite3.DatabaseError) -> TapewrightError:
    """The typed error for what SQLite says about the file."""
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
    if code in _CORRUPT:
        return _damaged(path, str(error))
    if code in _LOCKED:
        return StoreLockedError(
            f"{path} is being written to by another process",
            remedy="Stop the other process, or name another file for the store.",
        )
    return _cannot_open(path, str(error))


def _cannot_open(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{path} cannot be opened or written: {why}",
        remedy=f"Make {path.parent} a folder you may write to, with space left, or name another file for the store.",
    )


def _damaged(path: Path, why: str) -> DataError:
    return DataError(
        f"{path} is not a whole SQLite database: {why}",
        remedy=(
            "Move it away, with its -wal and -shm files, and put a backup in its place, or start with a new one: "
            "what a tape has led to can be had again by a replay of the tape."
        ),
    )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _refuse_foreign(path: Path, connection: sqlite3.Connection, version: int) -> None:
    mark = int(connection.execute("PRAGMA application_id").fetchone()[0])
    is_empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if mark != APPLICATION_ID and not (mark == 0 and version == 0 and is_empty):
        raise DataError(f"{path} is another program's database", remedy="Name another file for the store.")


def _check(path: Path, connection: sqlite3.Connection) -> None:
    found = [row[0] for row in connection.execute("PRAGMA quick_check(5)")]
    if found != ["ok"]:
        raise _damaged(path, "; ".join(found).replace("\n", " "))


def _use_wal(path: Path, connection: sqlite3.Connection) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise _cannot_open(path, f"it cannot keep a write-ahead log here (journal mode {mode}; a network disk?)")


def _apply(connection: sqlite3.Connection, step: Migration) -> None:
    """Apply one migration, unless another process has in the meantime."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _version(connection) < step.number:
            for statement in step.statements():
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {step.number}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
