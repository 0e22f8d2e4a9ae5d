"""What can go wrong with the store; one meaning a class."""

import sqlite3


class StoreError(Exception):
    """The store could not do what it was asked."""


class StoreFull(StoreError):
    """A definite no: nothing of the round was written (disk full, file locked or not writable). It may work later."""


class StoreBroken(StoreError):
    """COMMIT itself failed: whether the round is on disk is unknown. Only opening the file again tells."""


class StoreRefused(StoreError):
    """A definite no: a round broke a rule of the store (a final state, a key twice). A fault of the program."""


class StoreTooNew(StoreError):
    """The file was written by a newer hpcq."""


class StoreLocked(StoreError):
    """Another server has the data folder."""

    def __init__(self, folder: str, pid: int | None, host: str, since: str) -> None:
        self.pid, self.host, self.since = pid, host, since
        who = f"process {pid} on {host}, since {since}" if pid else "another process, which has not said who it is"
        super().__init__(
            f"the data folder {folder} is in use by {who}. Stop that server, or give this one another --data-dir."
        )


# What the world outside may cause before COMMIT, in SQLite's words.
_TROUBLE = {
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM,
}  # fmt: skip


def primary_code(error: BaseException) -> int | None:
    """SQLite's own code of an error, without its extension; None: it has none."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def rolled_back(error: Exception) -> StoreError:
    """What to raise for an error from which nothing remained on disk."""
    if isinstance(error, StoreError):
        return error
    code = primary_code(error)
    if code in _TROUBLE or isinstance(error, MemoryError):
        return StoreFull(f"nothing was written: {error}")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreBroken(f"the store's file is damaged: {error}. Restore a backup.")
    return StoreRefused(f"nothing was written: {type(error).__name__}: {error}")
