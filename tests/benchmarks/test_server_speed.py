"""The whole server under load, each figure beside its own limit, taken in the same run and in turn.

`pytest -m benchmark -s tests/benchmarks/test_server_speed.py`; wants a quiet machine. Ratios count, not the figures.
"""

import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.support.server import ServerProcess

pytestmark = pytest.mark.benchmark
ROUNDS = 3
JOB = {"queue": "noop", "params": {"message": "x"}}


def report(what: str, unit: str, figures: list[float], limits: list[float] | None = None) -> None:
    """One line: the median, and with a limit the median of the ratios pair by pair."""
    line = f"{what}: median {statistics.median(figures):,.1f} {unit} (of {', '.join(f'{x:,.1f}' for x in figures)})"
    if limits:
        ratios = [figure / limit for figure, limit in zip(figures, limits, strict=True)]
        line += f"; limit {statistics.median(limits):,.1f}; ratio {statistics.median(ratios):.2f}"
    print(line, flush=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path)
    yield server.start()
    server.close()


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[str]:
    """The address of bare aiohttp with a group commit."""
    argv = [sys.executable, "-m", "tests.benchmarks.bare_server", str(tmp_path / "bare.db")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


def load(url: str, path: str, connections: int, requests: int, body: bytes) -> dict[str, float]:
    """An HTTP load from another process; see load.py."""
    argv = [sys.executable, "-m", "tests.benchmarks.load", url, path, str(connections), str(requests)]
    ended = subprocess.run(argv, input=body, capture_output=True, check=True)
    figures: dict[str, float] = json.loads(ended.stdout)
    return figures


def post(url: str, path: str, body: bytes, kind: str) -> float:
    """Seconds of one POST."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=300)
    began = time.perf_counter()
    connection.request("POST", path, body, {"Content-Type": kind})
    response = connection.getresponse()
    response.read()
    assert response.status == 201, response.status
    connection.close()
    return time.perf_counter() - began


def test_single_submits_over_16_connections(server: ServerProcess, bare: str) -> None:
    server.request("PATCH", "/v1/queues/noop", {"paused": True})
    body = json.dumps(JOB).encode()
    load(server.url, "/v1/jobs", 16, 1000, body)
    ours, limit = [], []
    for _ in range(ROUNDS):
        ours.append(8000 / load(server.url, "/v1/jobs", 16, 8000, body)["seconds"])
        limit.append(8000 / load(bare, "/", 16, 8000, body)["seconds"])
    report("single submits, 16 connections", "/s", ours, limit)


def test_bulk_submits(server: ServerProcess, bare: str) -> None:
    server.request("PATCH", "/v1/queues/noop", {"paused": True})
    lines = b"\n".join([json.dumps(JOB).encode()] * 50_000)
    ours, limit = [], []
    for _ in range(ROUNDS):
        ours.append(50_000 / post(server.url, "/v1/jobs", lines, "application/x-ndjson"))
        limit.append(50_000 / post(bare, "/bulk", lines, "application/octet-stream"))
    report("bulk", "jobs/s", ours, limit)


def test_square_sums_end_to_end(server: ServerProcess, tmp_path: Path) -> None:
    jobs = 5000
    server.submit("compute", {"operation": "square_sum", "data": [1, 2, 3]}, wait_s=30)
    line = json.dumps({"queue": "compute", "params": {"operation": "square_sum", "data": [1, 2, 3]}}).encode()
    ours, limit = [], []
    for number in range(ROUNDS):
        body = b"\n".join(line.replace(b"}}", b'}, "tags": {"round": "%d"}}' % number) for _ in range(jobs))
        began = time.perf_counter()
        post(server.url, "/v1/jobs", body, "application/x-ndjson")
        assert server.get(f"/v1/jobs/summary?tag=round:{number}&wait=120")["counts"] == {"succeeded": jobs}
        ours.append(jobs / (time.perf_counter() - began))
        argv = [sys.executable, "-m", "tests.benchmarks.bare_pools", str(tmp_path / f"bare-{number}.db"), str(jobs)]
        limit.append(jobs / float(subprocess.run(argv, capture_output=True, check=True).stdout))
    report("square_sum end to end, submit included", "jobs/s", ours, limit)


def test_latency_on_an_idle_server(server: ServerProcess, bare: str) -> None:
    bodies = {
        "noop": {"queue": "noop", "params": {}},
        "square_sum": {"queue": "compute", "params": {"operation": "square_sum", "data": [1, 2, 3]}},
    }
    for name, job in bodies.items():
        body = json.dumps(job).encode()
        load(server.url, "/v1/jobs?wait=10", 1, 200, body)
        load(bare, "/twice", 1, 200, body)
        ours, limit = [], []
        for _ in range(ROUNDS):
            ours.append(load(server.url, "/v1/jobs?wait=10", 1, 500, body))
            limit.append(load(bare, "/twice", 1, 500, body))
        for cut in ("p50", "p99"):
            figures = [[one[f"{cut}_ms"] for one in each] for each in (ours, limit)]
            report(f"{name}: submit to final, {cut}", "ms", *figures)


def test_bin_true_beside_xargs(server: ServerProcess) -> None:
    jobs = 1000
    line = json.dumps({"queue": "local", "params": {"command": ["/bin/true"]}}).encode()
    server.submit("local", {"command": ["/bin/true"]}, wait_s=30)
    ours, limit = [], []
    for number in range(ROUNDS):
        body = b"\n".join(line.replace(b"}}", b'}, "tags": {"round": "%d"}}' % number) for _ in range(jobs))
        began = time.perf_counter()
        post(server.url, "/v1/jobs", body, "application/x-ndjson")
        assert server.get(f"/v1/jobs/summary?tag=round:{number}&wait=120")["counts"] == {"succeeded": jobs}
        ours.append(jobs / (time.perf_counter() - began))
        began = time.perf_counter()
        subprocess.run(["xargs", "-P2", "-n1", "/bin/true"], input=b"x\n" * jobs, check=True)
        limit.append(jobs / (time.perf_counter() - began))
    report("/bin/true", "jobs/s", ours, limit)


PRODUCTS = """
import hashlib, sys, time, numpy
began = time.perf_counter()
for seed in range(int(sys.argv[1])):
    rng = numpy.random.default_rng(seed)
    a, b = rng.random((512, 512)), rng.random((512, 512))
    c = a @ b
    float(c.trace()), float(numpy.linalg.norm(c))
    if folder := sys.argv[2]:
        numpy.save(f"{folder}/{seed}.npy", c)
        hashlib.sha256(c).hexdigest()
print(time.perf_counter() - began)
"""


def test_products_beside_a_plain_loop(server: ServerProcess, tmp_path: Path) -> None:
    jobs = 300
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    server.submit("compute", {"operation": "matmul", "size": 512}, wait_s=30)
    ours, limit, keeping = [], [], []
    for number in range(ROUNDS):
        params = [{"operation": "matmul", "size": 512, "seed": seed} for seed in range(jobs)]
        bodies = [{"queue": "compute", "params": p, "tags": {"round": str(number)}} for p in params]
        began = time.perf_counter()
        post(server.url, "/v1/jobs", json.dumps(bodies).encode(), "application/json")
        assert server.get(f"/v1/jobs/summary?tag=round:{number}&wait=120")["counts"] == {"succeeded": jobs}
        ours.append(jobs / (time.perf_counter() - began))
        limit.append(jobs / plain(jobs // 2, one))
        keeping.append(jobs / plain(jobs // 2, one, tmp_path))
    report("512² products", "jobs/s", ours, limit)
    report("512² products, where the plain loop keeps them and their checksums too", "jobs/s", ours, keeping)


def plain(each: int, env: dict[str, str], folder: Path | None = None) -> float:
    """Seconds that two bare processes take for their products, the imports aside; `folder`: where they keep them."""
    argvs = []
    for name in ("one", "two"):
        place = folder / name if folder else None
        if place:
            place.mkdir(exist_ok=True)
        argvs.append([sys.executable, "-c", PRODUCTS, str(each), str(place or "")])
    running = [subprocess.Popen(argv, stdout=subprocess.PIPE, env={**os.environ, **env}) for argv in argvs]
    return max(float(process.communicate()[0]) for process in running)


MILLION = 1_000_000


def test_with_a_million_queued(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path).start()
    body = json.dumps(JOB).encode()
    server.request("PATCH", "/v1/queues/noop", {"paused": True})
    load(server.url, "/v1/jobs", 16, 1000, body)
    empty = [8000 / load(server.url, "/v1/jobs", 16, 8000, body)["seconds"] for _ in range(ROUNDS)]
    lines = b"\n".join([body] * 100_000)
    lags = [lag_during(server, lambda: post(server.url, "/v1/jobs", lines, "application/x-ndjson")) for _ in range(10)]
    report("loop lag p99 during a bulk of 100,000", "ms", lags)
    full = [8000 / load(server.url, "/v1/jobs", 16, 8000, body)["seconds"] for _ in range(ROUNDS)]
    report("submits with a million queued, limit: the empty server", "/s", full, empty)
    pages = []
    for path in ("/v1/jobs", "/v1/jobs?state=queued", "/v1/jobs?queue=noop&state=queued&order=asc"):
        began = time.perf_counter()
        assert len(server.get(path)["jobs"]) == 50
        pages.append(1e3 * (time.perf_counter() - began))
    report("a page of the list", "ms", pages)
    print(f"memory: {psutil.Process(server.pid).memory_info().rss >> 20} MiB", flush=True)
    server.kill()
    began = time.perf_counter()
    server.start()
    served = time.perf_counter() - began
    server.request("PATCH", "/v1/queues/noop", {"paused": False})
    first = server.get("/v1/jobs?order=asc&limit=1")["jobs"][0]["id"]
    server.until(first, "succeeded")
    print(f"restart: serves after {served:.2f} s, first job done after {time.perf_counter() - began:.2f} s", flush=True)
    print(f"memory after the restart: {psutil.Process(server.pid).memory_info().rss >> 20} MiB", flush=True)
    server.close()


def lag_during(server: ServerProcess, work: Callable[[], float]) -> float:
    """The p99 of how long a tiny request takes while `work` goes on, less what it takes before, in ms."""

    def ask() -> float:
        began = time.perf_counter()
        server.request("GET", "/v1/runners")
        return 1e3 * (time.perf_counter() - began)

    usual = statistics.median(ask() for _ in range(20))
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        times = []
        while not working.done():
            times.append(ask())
        working.result()
    return max(0.0, statistics.quantiles([*times, times[-1]], n=100)[98] - usual)
