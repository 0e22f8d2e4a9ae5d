"""/metrics for Prometheus. Labels are queues and states only, so that their number stays small."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from hpcq.api.table import Call, Route
from hpcq.core.job import FINAL, State
from hpcq.engine.hub import EventHub
from hpcq.store.filter import Filter

if TYPE_CHECKING:
    from hpcq.engine.engine import Engine
    from hpcq.store.rows import EventRow

SLICE = 2000  # events counted before the loop gets its turn
LAG_EVERY_S = 0.25
SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 30, 120, 600, 3600, 21600)
LAGS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
DATABASE = "hpcq.db"


class Metrics:
    """Counts what the hub publishes; the rest is looked up when somebody asks."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry(auto_describe=True)
        submitted = Counter("hpcq_jobs_submitted", "Jobs submitted", ["queue"], registry=registry)
        finished = Counter("hpcq_jobs_finished", "Jobs that ended", ["queue", "state"], registry=registry)
        retried = Counter("hpcq_jobs_retried", "Attempts that are followed by another", ["queue"], registry=registry)
        run = Histogram("hpcq_job_run_seconds", "Attempts, start to end", ["queue"], buckets=SECONDS, registry=registry)
        wait = Histogram(
            "hpcq_job_wait_seconds", "Submit to first start", ["queue"], buckets=SECONDS, registry=registry
        )
        self._lag = Histogram("hpcq_loop_lag_seconds", "How late the event loop is", buckets=LAGS, registry=registry)
        self._jobs = Gauge("hpcq_jobs", "Jobs kept, by state", ["queue", "state"], registry=registry)
        self._wal = Gauge("hpcq_wal_bytes", "Size of the write-ahead log", registry=registry)
        self._rss = Gauge("hpcq_resident_memory_bytes", "Resident memory of the server", registry=registry)
        self._files = Gauge("hpcq_open_files", "Open descriptors of the server", registry=registry)
        self._listeners = Gauge("hpcq_event_listeners", "Open event streams", registry=registry)
        # Every event looks for one of these: they are few, and finding them by their labels is slow.
        self._submitted_of, self._finished_of = cache(submitted.labels), cache(finished.labels)
        self._retried_of, self._run_of, self._wait_of = cache(retried.labels), cache(run.labels), cache(wait.labels)
        self._running: dict[str, float] = {}  # job id -> when its attempt started

    def count(self, events: Sequence["EventRow"]) -> None:
        """Take note of committed events."""
        submitted: dict[str, int] = {}
        for event in events:
            queue, kind = event.queue or "", event.type
            if kind == "job.submitted":
                submitted[queue] = submitted.get(queue, 0) + 1
            elif kind == "job.started":
                self._started(event)
            elif kind == "job.retrying":
                self._retried_of(queue).inc()
                self._ended(event)
            elif event.state in FINAL and kind.startswith("job."):
                self._finished_of(queue, event.state).inc()
                self._ended(event)
        for queue, count in submitted.items():
            self._submitted_of(queue).inc(count)

    def _started(self, event: "EventRow") -> None:
        job_id = event.job_id or ""
        self._running[job_id] = event.at
        if event.attempt == 1:
            self._wait_of(event.queue or "").observe(max(0.0, event.at - _submitted_at(job_id)))

    def _ended(self, event: "EventRow") -> None:
        started = self._running.pop(event.job_id or "", None)
        if started is not None:
            self._run_of(event.queue or "").observe(max(0.0, event.at - started))

    def lag(self, seconds: float) -> None:
        """The loop was so late."""
        self._lag.observe(seconds)

    async def text(self, engine: "Engine") -> bytes:
        """Everything, in Prometheus' text format."""
        for queue in engine.lanes:
            counts = await engine.reader.summary(None, Filter(queues=(queue,)))
            for state in State:
                self._jobs.labels(queue, state.value).set(counts.get(state.value, 0))
        self._wal.set(_size(engine.around.data_dir / f"{DATABASE}-wal"))
        self._rss.set(_resident())
        self._files.set(len(os.listdir("/proc/self/fd")))
        self._listeners.set(engine.hub.listeners - 1)  # one of them is ours
        return generate_latest(self.registry)


METRICS = web.AppKey("metrics", Metrics)


def running(engine: "Engine") -> Callable[[web.Application], AsyncIterator[None]]:
    """The part that lives as long as the application: it listens to the hub and watches the loop."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        metrics = app[METRICS] = Metrics()
        works = [asyncio.ensure_future(_listen(engine.hub, metrics)), asyncio.ensure_future(_watch(metrics))]
        yield
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)

    return context


async def _listen(hub: EventHub, metrics: Metrics) -> None:
    subscription = hub.subscribe(None, sys.maxsize)
    try:
        async for events in subscription:
            for start in range(0, len(events), SLICE):
                metrics.count(events[start : start + SLICE])
                await asyncio.sleep(0)
            del events  # those of a bulk must not live until the next come
    finally:
        hub.unsubscribe(subscription)


async def _watch(metrics: Metrics) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_EVERY_S
        await asyncio.sleep(LAG_EVERY_S)
        metrics.lag(max(0.0, loop.time() - due))


def _submitted_at(job_id: str) -> float:
    """A UUIDv7 begins with its time."""
    with suppress(ValueError):
        return int(job_id[:8] + job_id[9:13], 16) / 1000
    return 0.0


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


async def metrics(call: Call[None, None]) -> web.Response:
    """Figures for Prometheus."""
    text = await call.request.app[METRICS].text(call.engine)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


ROUTES = (Route("GET", "/metrics", metrics, "Figures for Prometheus", media="text/plain"),)
