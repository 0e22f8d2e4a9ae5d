"""A real `hpcq serve` on a free port, with a data folder of its own, for tests and nothing else."""

import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from tests.support.wait import wait_until_blocking

START_S = 30.0
FINAL = ("succeeded", "failed", "cancelled")


class Answer:
    """An HTTP answer."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ServerProcess:
    """One server process after another on the same data folder."""

    def __init__(
        self,
        folder: Path,
        config: str = "",
        arguments: Sequence[str] = (),
        env: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        """`prefix`: a program that replaces itself by the server (`unshare …`)."""
        self.data_dir = folder / "data"
        self.config = folder / "hpcq.toml"
        self.config.write_text(config, encoding="utf-8")
        self.arguments = list(arguments)
        self.prefix = list(prefix)
        self.env = {**os.environ, "HPCQ_SERVER__DRAIN_GRACE_S": "1", **(env or {})}
        self.url = ""
        self.log: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._offspring: dict[int, psutil.Process] = {}

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was not started"
        return self._process.pid

    def start(self) -> "ServerProcess":
        """Start it and wait until it serves."""
        argv = [*self.prefix, sys.executable, "-m", "hpcq", "serve", "--port", "0", "--data-dir", str(self.data_dir)]
        argv += ["--config", str(self.config), *self.arguments]
        self.url = ""
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.env
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        wait_until_blocking(lambda: self.url or self._process.poll() is not None, START_S, "the server to serve")  # type: ignore[union-attr]
        assert self.url, f"the server ended with {self._process.poll()}:\n{''.join(self.log)}"
        return self

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.log.append(line)
                if " serves http://" in line:
                    self.url = line.split(" serves ")[1].split(",")[0]

    def note_offspring(self) -> None:
        """Remember all processes below the server, to see later that they are gone."""
        for child in psutil.Process(self.pid).children(recursive=True):
            self._offspring[child.pid] = child

    def signal(self, number: int) -> None:
        """Send the server a signal."""
        os.kill(self.pid, number)

    def wait(self, timeout_s: float = 30.0) -> int:
        """Its exit status."""
        assert self._process is not None
        status = self._process.wait(timeout_s)
        self._reader.join(5.0)
        return status

    def stop(self) -> int:
        """SIGTERM; its exit status, once nothing of it lives."""
        self.note_offspring()
        self.signal(signal.SIGTERM)
        status = self.wait()
        self.assert_nothing_lives()
        return status

    def kill(self) -> None:
        """kill -9."""
        self.note_offspring()
        self.signal(signal.SIGKILL)
        self.wait()

    def close(self) -> None:
        """For tear-down: end it however it stands, and see that nothing survives."""
        if self._process is not None and self._process.poll() is None:
            self.stop()
        self.assert_nothing_lives()

    def assert_nothing_lives(self) -> None:
        """No process that the server started lives 5 s after its end."""

        def alive() -> list[str]:
            return [str(p) for p in self._offspring.values() if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

        wait_until_blocking(lambda: not alive(), 5.0, f"the end of {alive()}")

    # HTTP.

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """One request; a body that is not bytes is sent as JSON."""
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
        try:
            raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            kind = {} if raw is None else {"Content-Type": "application/json"}
            connection.request(method, path, raw, {**kind, **(headers or {})})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """The JSON of a GET that succeeds."""
        answer = self.request("GET", path)
        assert answer.status == 200, (answer.status, answer.body)
        return answer.json

    def submit(self, queue: str, params: dict[str, Any], wait_s: float | None = None, **fields: Any) -> dict[str, Any]:
        """Submit one job; the Job."""
        path = "/v1/jobs" if wait_s is None else f"/v1/jobs?wait={wait_s}"
        answer = self.request("POST", path, {"queue": queue, "params": params, **fields})
        assert answer.status == 201, (answer.status, answer.body)
        job: dict[str, Any] = answer.json
        return job

    def upload(self, data: bytes) -> dict[str, str]:
        """Put a file onto the server; how params name it."""
        name = hashlib.sha256(data).hexdigest()
        answer = self.request("PUT", f"/v1/blobs/{name}", data, {"Content-Type": "application/octet-stream"})
        assert answer.status in (200, 201), answer.body
        return {"blob": name}

    def job(self, job_id: str, wait_s: float = 0) -> dict[str, Any]:
        """The Job; with `wait_s`, once it is final or the time is over."""
        job: dict[str, Any] = self.get(f"/v1/jobs/{job_id}?wait={wait_s}")
        return job

    def until(self, job_id: str, *states: str, timeout_s: float = 20.0) -> dict[str, Any]:
        """The Job once it is in one of these states."""
        seen: dict[str, Any] = {}

        def there() -> bool:
            seen.update(self.job(job_id))
            return seen["state"] in states

        wait_until_blocking(there, timeout_s, f"job {job_id} in {states}")
        return seen

    def output(self, job_id: str) -> str:
        """What the job printed."""
        return self.request("GET", f"/v1/jobs/{job_id}/output").body.decode()
