"""A server of one's own: on a free port, with a throw-away data folder."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

START_S = 20.0
STOP_S = 15.0
CONFIG = """\
# The server of `hpcq demo`.
[server]
drain_grace_s = 0

[queues.local]
slots = 2
grace_s = 0.5

[queues.compute]
slots = 2

[queues.lane]        # one slot, so that the order of starts can be seen
runner = "noop"
slots = 1
"""


class DemoError(Exception):
    """The demo cannot go on."""


class OwnServer:
    """`hpcq serve` as a child in a session of its own, so that Ctrl-C reaches only us."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hpcq-demo-"))
        self.log = self.folder / "server.log"
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the server; 0 before its start."""
        return self._process.pid if self._process else 0

    async def start(self) -> str:
        """Start it and wait for the address that it prints. Raises DemoError with the end of its log."""
        config = self.folder / "hpcq.toml"
        config.write_text(CONFIG, encoding="utf-8")
        command = [sys.executable, "-P", "-m", "hpcq.cli.main", "serve", "--port", "0"]
        command += ["--data-dir", str(self.folder / "data"), "--config", str(config)]
        env = {name: value for name, value in os.environ.items() if not name.startswith("HPCQ_")}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 it does not wait
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True
            )
        try:
            async with asyncio.timeout(START_S):
                while not (found := re.search(r"serves (http://\S+?),? ", self._said())):
                    if self._process.poll() is not None:
                        raise DemoError(f"the server ended with status {self._process.returncode}:\n{self._said()}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise DemoError(f"the server printed no address in {START_S:g} s:\n{self._said()}") from None
        self.url = found[1]
        return self.url

    def _said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:]

    async def stop(self) -> None:
        """End it, and forget its folder."""
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(process.wait, STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
