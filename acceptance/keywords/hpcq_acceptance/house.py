"""A server of one's own: a process with a folder, started on a free port, and what is left of it afterwards."""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psutil

START_S = 30.0
STOP_S = 30.0
GONE_S = 5.0  # promised: nothing of a job or of the server lives longer
POLL_S = 0.02
MARK = "ACCEPTANCE_HOUSE"  # every process that the server starts inherits it, however it hides
ORPHANED = "pymp-"  # multiprocessing's folder for a socket: when a server is killed nobody is left to remove it
HPCQ = (sys.executable, "-m", "hpcq")


class House:
    """One server process after another, on the same data folder and port."""

    def __init__(self, config: str, options: tuple[str, ...]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hpcq-acceptance-"))
        self.data = self.folder / "data"
        self.home = self.folder / "home"
        self.temporary = self.folder / "tmp"
        for path in (self.home, self.temporary):
            path.mkdir()
        self.config = self.folder / "hpcq.toml"
        self.config.write_text(config, encoding="utf-8")
        self.log = self.folder / "server.log"
        self.url = ""
        self._options = options
        self.mark = {MARK: uuid4().hex}
        self._killed = False
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """Whether the server lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> str:
        """Start the server, again on the port that it had; its address, once it serves."""
        assert not self.runs, "the server runs already"
        port = str(urlsplit(self.url).port) if self.url else "0"
        command = [*HPCQ, "serve", "--port", port, "--data-dir", str(self.data), "--config", str(self.config)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self._environment(),
            )
        ends = time.monotonic() + START_S
        while not (found := re.search(r" serves (http://[^\s,]+)", self.said())):
            assert self._process.poll() is None, f"the server ended with {self._process.returncode}:\n{self.said()}"
            assert time.monotonic() < ends, f"the server printed no address in {START_S:g} s:\n{self.said()}"
            time.sleep(POLL_S)
        self.url = found[1]
        return self.url

    def _environment(self) -> dict[str, str]:
        """Ours, but nothing that would configure the server, and folders of its own for what it might leave."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HPCQ_", "XDG_"))}
        own = {"HOME": str(self.home), "TMPDIR": str(self.temporary)}
        return {**kept, **own, **self.mark, "HPCQ_SERVER__DRAIN_GRACE_S": "0.2"}

    def said(self) -> str:
        """The end of what the server wrote to its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:]

    def end(self, number: signal.Signals) -> int:
        """Send it a signal and wait for its end; the exit status."""
        assert self._process is not None, "no server was started"
        self._killed |= number == signal.SIGKILL
        self._process.send_signal(number)
        return self._process.wait(STOP_S)

    # What is left of it.

    def survivors(self) -> list[str]:
        """The processes that it started and that live 5 s after its end."""
        ends = time.monotonic() + GONE_S
        while (alive := self._alive()) and time.monotonic() < ends:
            time.sleep(POLL_S)
        return alive

    def _alive(self) -> list[str]:
        word = f"{MARK}={self.mark[MARK]}".encode()
        return [_shown(pid) for pid in psutil.pids() if word in _environ(pid)]

    def open_port(self) -> bool:
        """Whether anybody still listens where the server did."""
        place = urlsplit(self.url)
        with socket.socket() as probe:
            return probe.connect_ex((place.hostname or "", place.port or 0)) == 0

    def left_files(self) -> list[str]:
        """What should not be there: temporary files, private folders of attempts, an unmerged log, a held lock."""
        found = [path for path in self.temporary.iterdir() if not (self._killed and path.name.startswith(ORPHANED))]
        found += [*self.home.rglob("*"), *self.data.glob("jobs/*/*/attempt-*/work")]
        found += self.data.glob("*-wal")
        found += [path for path in self.data.rglob("*") if path.is_socket() or path.is_fifo()]
        return [str(path.relative_to(self.folder)) for path in found] + ["data/lock, held"] * self._locked()

    def _locked(self) -> bool:
        path = self.data / "lock"
        if not path.exists():
            return False
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def remove(self) -> None:
        """Forget its folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _environ(pid: int) -> bytes:
    """What a process was started with; empty when it is gone, a zombie, or somebody else's."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _shown(pid: int) -> str:
    try:
        return f"{pid}: {' '.join(psutil.Process(pid).cmdline())}"
    except psutil.Error:
        return str(pid)
