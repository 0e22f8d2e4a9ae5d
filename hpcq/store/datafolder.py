"""The data folder: who may read it, and the lock that one server at a time has on it."""

import fcntl
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

from hpcq.store.errors import StoreLocked

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600


class DataFolder:
    """Paths within the folder, and its lock, which ends with the process at the latest."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "hpcq.db"
        self.jobs = path / "jobs"
        self.lock_file = path / "lock"
        self._held: int | None = None

    def lock(self) -> float | None:
        """Make the folder if need be, and take its lock. Raises StoreLocked, OSError.

        Returns when the server before this one last touched the lock file (a wall time), None if there was none.
        """
        self._make()
        touched = self.lock_file.stat().st_mtime if self.lock_file.exists() else None
        held = os.open(self.lock_file, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            raise self._locked() from None
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat("T", "seconds"),
        }
        os.ftruncate(held, 0)
        os.write(held, json.dumps(holder).encode())
        self._held = held
        return touched

    def unlock(self) -> None:
        """Give the lock back. Harmless when repeated. The file stays: removing it would let two servers in."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def holder(self) -> dict[str, object] | None:
        """What the lock file says of its (last) holder: pid, host, since; None: nothing that can be read."""
        try:
            found = json.loads(self.lock_file.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def _locked(self) -> StoreLocked:
        who = self.holder() or {}
        pid = who.get("pid")
        return StoreLocked(
            str(self.path), pid if isinstance(pid, int) else None, str(who.get("host")), str(who.get("since"))
        )

    def _make(self) -> None:
        """A new folder is ours alone, and so is one that we used before; another's mode is not ours to change."""
        self.path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        if self.database.exists() and self.path.stat().st_uid == os.getuid():
            self.path.chmod(PRIVATE_FOLDER)
        self.jobs.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
