"""Leases: an attempt that goes silent is stopped, and its neighbours notice nothing."""

import signal
from pathlib import Path

import psutil

from tests.support.server import ServerProcess

CONFIG = '[queues.sh]\nrunner = "shell"\nslots = 3\nlease_s = 2\ngrace_s = 0.2\n'


def _launcher(server: ServerProcess, word: str) -> psutil.Process:
    """The launcher of the slot whose job runs `sleep word`."""
    for launcher in psutil.Process(server.pid).children():
        if any(child.cmdline()[-1:] == [word] for child in launcher.children(recursive=True)):
            return launcher
    raise AssertionError(f"no launcher has a child `sleep {word}`")


def test_a_frozen_launcher_does_not_cost_its_neighbours_their_leases(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, CONFIG).start()
    launcher: psutil.Process | None = None
    try:
        frozen = server.submit("sh", {"command": ["sleep", "601"]})
        others = [server.submit("sh", {"command": ["sleep", f"{n}.5"]}) for n in (5, 6)]
        for job in (frozen, *others):
            server.until(job["id"], "running")
        launcher = _launcher(server, "601")
        launcher.send_signal(signal.SIGSTOP)
        for job in others:
            ended = server.until(job["id"], "succeeded", "failed", timeout_s=30)
            assert (ended["state"], ended["attempt"]) == ("succeeded", 1)
        assert server.job(frozen["id"])["attempt"] > 1 or server.job(frozen["id"])["state"] == "cancelling"
    finally:
        if launcher is not None and launcher.is_running():
            launcher.kill()
        server.close()
