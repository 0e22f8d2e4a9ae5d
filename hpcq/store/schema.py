"""Opening the file for writing: its settings, and the steps that bring it to this version's tables."""

import sqlite3
from importlib import resources
from pathlib import Path

from hpcq.store.errors import StoreTooNew

MIB = 1 << 20
WAL_LIMIT_BYTES = 16 * MIB  # beyond it the writer empties the write-ahead log
CACHE_MIB = 32
BUSY_TIMEOUT_MS = 4_000  # how long somebody else's lock on the file is waited for
SAFE_SQLITE = (3, 51, 3)

PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "wal_autocheckpoint = 0",  # by the writer, when it has answered
    f"journal_size_limit = {WAL_LIMIT_BYTES}",
    f"cache_size = -{CACHE_MIB * 1024}",
    "temp_store = MEMORY",
    "secure_delete = OFF",  # Debian's default is ON, and overwrites what is deleted
)


def sqlite_advice() -> str | None:
    """What to say about an SQLite with the WAL-reset bug; None: this one is free of it."""
    if sqlite3.sqlite_version_info >= SAFE_SQLITE:
        return None
    return (
        f"SQLite {sqlite3.sqlite_version} can damage a file that two connections write or checkpoint at once "
        f"(mended in {'.'.join(map(str, SAFE_SQLITE))}). hpcq has one writing connection and is safe; open the file of "
        "a running server with other tools only for reading."
    )


def migrations() -> list[tuple[int, str]]:
    """(number, SQL) of every step, in order."""
    folder = resources.files("hpcq.store.migrations")
    found = [(int(file.name[:4]), file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".sql")]
    return sorted(found)


def open_for_writing(path: Path, steps: list[tuple[int, str]] | None = None) -> sqlite3.Connection:
    """The one connection that writes, with all steps applied. Raises StoreTooNew, sqlite3.Error."""
    path.touch(mode=0o600)  # SQLite gives its other two files the same mode
    db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000)
    try:
        for pragma in PRAGMAS:
            db.execute(f"PRAGMA {pragma}")
        migrate(db, path, migrations() if steps is None else steps)
    except BaseException:
        db.close()
        raise
    return db


def version_of(db: sqlite3.Connection) -> int:
    """The number of the last step that this file has seen; 0: none."""
    found: int = db.execute("PRAGMA user_version").fetchone()[0]
    return found


def migrate(db: sqlite3.Connection, path: Path, steps: list[tuple[int, str]]) -> None:
    """Apply the steps that are missing, each in a transaction of its own; an existing file is copied first."""
    version, newest = version_of(db), steps[-1][0]
    if version > newest:
        raise StoreTooNew(
            f"{path} was written by a newer hpcq (its tables are of version {version}, this one knows {newest}). "
            f"Install the newer hpcq again, or restore a backup made by this one."
        )
    if 0 < version < newest:
        backup(db, path.with_name(f"{path.stem}-before-{newest:04d}.db"))
    for number, sql in steps:
        if number > version:
            _apply(db, number, sql)


def _apply(db: sqlite3.Connection, number: int, sql: str) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements(sql):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {number}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def statements(sql: str) -> list[str]:
    """A script's statements, one by one (`executescript` would commit in between)."""
    found, current = [], ""
    for part in sql.split(";")[:-1]:
        current += part + ";"
        if sqlite3.complete_statement(current):  # the semicolon was no part of a trigger, a string or a comment
            found.append(current)
            current = ""
    return found


def backup(db: sqlite3.Connection, target: Path) -> None:
    """Write a compact copy of all that is committed. An older copy of that name goes once the new one is there."""
    draft = target.with_name(target.name + ".part")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)  # VACUUM INTO accepts an empty file
    try:
        db.execute("VACUUM INTO ?", (str(draft),))
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
