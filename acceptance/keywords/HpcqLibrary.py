"""Keywords of the acceptance suites: a server of their own, and jobs on it, through the real HTTP API."""

import asyncio
import io
import os
import sys
import tempfile
from typing import Any, ClassVar

import numpy as np
import psutil

from hpcq.client import Client

START_S = 30.0
JOB_S = 60.0
GONE_S = 5.0  # promised: nothing of a job or of the server lives longer


class HpcqLibrary:
    """One server for each suite."""

    ROBOT_LIBRARY_SCOPE: ClassVar = "SUITE"

    def __init__(self) -> None:
        self._server: asyncio.subprocess.Process | None = None
        self._client: Client | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._tree: list[psutil.Process] = []

    @property
    def client(self) -> Client:
        assert self._client is not None, "no server: use the keyword Start Server first"
        return self._client

    # The server.

    async def start_server(self) -> str:
        """Start a server on a free port with a data folder of its own; returns its address."""
        self._folder = tempfile.TemporaryDirectory(prefix="hpcq-acceptance-")
        data = f"{self._folder.name}/data"
        self._server = await asyncio.create_subprocess_exec(
            sys.executable, *("-m", "hpcq.cli.main", "serve", "--port", "0", "--data-dir", data),
            stdout=asyncio.subprocess.PIPE,
            cwd=self._folder.name,
            env={**os.environ, "HPCQ_SERVER__DRAIN_GRACE_S": "0.2"},
        )  # fmt: skip
        assert self._server.stdout is not None
        line = (await asyncio.wait_for(self._server.stdout.readline(), START_S)).decode()
        assert " serves http://" in line, f"the server said {line!r} instead of its address"
        url = line.split(" serves ")[1].split(",")[0]
        self._client = Client(url)
        await self._client.__aenter__()
        return url

    async def stop_server(self) -> int:
        """SIGTERM, and wait for the end; returns the exit status. Without a server nothing happens."""
        if self._client is not None:
            await self._client.__aexit__(None, None, None)
            self._client = None
        if self._server is None:
            return 0
        server, self._server = self._server, None
        parent = psutil.Process(server.pid)
        self._tree = [parent, *parent.children(recursive=True)]
        server.terminate()
        status = await asyncio.wait_for(server.wait(), START_S)
        if self._folder is not None:
            self._folder.cleanup()
        return status

    async def nothing_should_survive(self) -> None:
        """Of all processes that the stopped server had, none is alive after 5 s."""
        assert self._tree, "no server was stopped: use the keyword Stop Server first"
        _, alive = await asyncio.to_thread(psutil.wait_procs, self._tree, GONE_S)
        assert not alive, f"still alive {GONE_S:g} s after the end of the server: {alive}"

    # Jobs.

    async def submit_job(self, queue: str, params: dict[str, Any]) -> str:
        """Submit a job; returns its id."""
        return str((await self.client.submit({"queue": queue, "params": params}))["id"])

    async def job_should_be(self, job_id: str, state: str) -> None:
        """The job comes into this state within a minute, of itself."""
        async with asyncio.timeout(JOB_S):
            job = await self.client.job(job_id, wait_s=0)
            while job["state"] != state:
                assert not job["finished_at"], f"the job is {job['state']}, not {state}: {job['error']}"
                job = await self.client.job(job_id, wait_s=0.2)

    async def output_should_be(self, job_id: str, expected: str) -> None:
        """All that the job has printed."""
        printed = b"".join([chunk async for chunk in self.client.output(job_id)]).decode()
        assert printed == expected, f"the job printed {printed!r}, not {expected!r}"

    async def product_should_be_what_numpy_computes(self, job_id: str) -> None:
        """The artifact, element by element, and the trace of the result, against numpy on this side."""
        job = await self.client.job(job_id)
        size, rng = job["params"]["size"], np.random.default_rng(job["params"]["seed"])
        expected = rng.random((size, size)) @ rng.random((size, size))
        file = b"".join([chunk async for chunk in self.client.artifact(job_id, job["result"]["artifact"])])
        np.testing.assert_allclose(np.load(io.BytesIO(file), allow_pickle=False), expected)
        np.testing.assert_allclose(job["result"]["trace"], np.trace(expected))
