"""Workers die with the server, whatever it dies of and whatever they are doing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import children_of, is_alive
from tests.support.wait import wait_until_blocking

GONE_S = 5.0

SERVER = """
import asyncio, json, sys
from pathlib import Path
from hpcq.plugin.testing_stage import Stage
from hpcq_runners.matrix.runner import MatrixRunner

async def main():
    stage = Stage(Path(sys.argv[1]), MatrixRunner, {"modules": ["tests.support.kernels"]})
    await stage.open()
    pids = []
    for slot in range(2):
        _, outcome = await stage.run({"operation": "tests.support.kernels:surroundings"}, 30, slot)
        pids += [outcome.result["pid"], outcome.result["parent"]]
    if sys.argv[2] != "idle":
        args = {"seconds": 1000000}
        request = stage.request({"operation": f"tests.support.kernels:{sys.argv[2]}", "args": args})
        pool = stage.runner._pools[request.slot.name]
        began = pool._worker.cells.running
        await stage.start(request)
        while pool._worker.cells.running == began:
            await asyncio.sleep(0.001)
    print(json.dumps(pids), flush=True)
    if sys.argv[3] == "killed":
        await asyncio.sleep(3600)
    await stage.close()

MatrixRunner.early(None)
asyncio.run(main())
"""


@pytest.mark.parametrize("work", ["idle", "rest", "hold_the_gil"])
@pytest.mark.parametrize("end", ["killed", "closed"])
def test_nothing_of_the_pool_outlives_the_server(tmp_path: Path, work: str, end: str) -> None:
    argv = [sys.executable, "-c", SERVER, str(tmp_path), work, end]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as server:
        assert server.stdout is not None
        pids = set(json.loads(server.stdout.readline())) | set(children_of(server.pid))
        if end == "killed":
            server.kill()
        server.wait(30)
    wait_until_blocking(lambda: not any(map(is_alive, pids)), GONE_S, "the end of all of the pool's processes")
