"""The composition root: the only place that knows every part, and the order of start and stop."""

import asyncio
import contextlib
import gc
import ipaddress
import logging
import os
import secrets
import signal
import sqlite3
import sys
from collections.abc import Mapping

import psutil

import hpcq
from hpcq import config
from hpcq.api.app import build_app, start_site
from hpcq.config import ConfigError, Settings
from hpcq.core.events import Draining, StopRequested
from hpcq.core.job import StopReason
from hpcq.core.scheduler import Scheduler
from hpcq.engine import environment, recovery
from hpcq.engine.attempt import Surroundings
from hpcq.engine.blobs import Blobs
from hpcq.engine.devices import check_one_queue
from hpcq.engine.engine import Engine, Parts
from hpcq.engine.lane import Lane
from hpcq.engine.numbers import Numbers
from hpcq.engine.orphans import become_subreaper
from hpcq.engine.registry import Found, find_runners
from hpcq.engine.schedules import Schedules
from hpcq.engine.supervision import Supervision
from hpcq.engine.views import Views, configured_queues
from hpcq.plugin import Runner
from hpcq.store.datafolder import DataFolder
from hpcq.store.reader import Reader
from hpcq.store.writer import Writer

log = logging.getLogger("hpcq")
SAFE_SQLITE = (3, 51, 3)  # older ones can corrupt a WAL that two connections write; we write with one
SWITCH_S = 0.0005  # the loop and the writer's thread take turns so often: at Python's 5 ms each waits for the other
REQUEUE_S = 10.0  # for the attempts that the drain stops to end


def check_address(settings: Settings) -> None:
    """Raises ConfigError for an address that would let strangers in."""
    host = settings.server.host
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigError(
            f"server.host is {host}, which others can reach: that needs tokens, and this version has none yet. "
            "Use 127.0.0.1, and a tunnel (ssh -L) from elsewhere."
        )


def check(settings: Settings) -> None:
    """Raises ConfigError for all that a server would refuse in its configuration."""
    check_address(settings)
    _lanes_of(settings, find_runners())


def _lanes_of(settings: Settings, found: Mapping[str, Found], stand_in: type[Runner] | None = None) -> dict[str, Lane]:
    lanes = {name: Lane(name, queue, found.get(queue.runner), stand_in) for name, queue in settings.queues.items()}
    check_one_queue(lanes.values())
    return lanes


def make_lanes(settings: Settings, *, rehearse: bool) -> tuple[dict[str, Lane], dict[str, Found]]:
    """A lane for each queue. Raises ConfigError for a runner's wrong settings."""
    found = find_runners()
    lanes = _lanes_of(settings, found, found["noop"].runner if rehearse else None)
    for lane in lanes.values():
        if not lane.broken and not lane.foreign and not rehearse:
            lane.runner_class.early(lane.settings)
    return lanes, found


def resources(settings: Settings) -> tuple[dict[str, float], dict[str, tuple[str, ...]]]:
    """The totals of all resources, and the items of those that are lists."""
    totals: dict[str, float] = {
        "cpus": float(len(os.sched_getaffinity(0))),
        "memory_mb": float(psutil.virtual_memory().total >> 20),
    }
    items: dict[str, tuple[str, ...]] = {}
    for name, given in settings.resources.items():
        if isinstance(given, tuple):
            items[name] = given
            totals[name] = float(len(given))
        else:
            totals[name] = given
    return totals, items


class Server:
    """One running server."""

    def __init__(self, settings: Settings, *, rehearse: bool = False) -> None:
        self.settings = settings
        self.data_dir = config.data_dir(settings)
        self.rehearse = rehearse
        self.url = ""
        self._stack = contextlib.AsyncExitStack()
        self._lanes: Mapping[str, Lane] = {}
        self._found: Mapping[str, Found] = {}

    def prepare(self) -> None:
        """What must happen in the main thread before sockets and threads exist."""
        check_address(self.settings)
        become_subreaper()
        sys.setswitchinterval(SWITCH_S)
        self._folder = DataFolder(self.data_dir)
        self._last_alive_at = self._folder.lock()
        self._lanes, self._found = make_lanes(self.settings, rehearse=self.rehearse)

    async def start(self) -> None:
        """Open everything, recover, and listen."""
        stack = self._stack
        writer = await Writer.open(self._folder.database)
        stack.push_async_callback(writer.close)
        reader = await Reader.open(self._folder.database)
        stack.push_async_callback(reader.close)
        server_id, last = await self._begin_life(writer)
        around = Surroundings(
            data_dir=self.data_dir,
            env=environment.base(self.settings.jobs.env_deny),
            output_cap=self.settings.limits.output_bytes,
            server_id=server_id,
        )
        numbers = Numbers(await writer.counters())
        parts = Parts(self._lanes, self._core, around, writer, reader)
        self.engine = engine = Engine(parts, numbers, self.settings.limits.waiting_jobs, recovery.reload)
        engine.live_settings = {row.name: row for row in await writer.queue_rows()}
        engine.views = Views(engine, self._found)
        engine.blobs = Blobs(writer, reader, self.data_dir)
        engine.used.update(await self._used(reader))
        stack.push_async_callback(engine.floor.close)
        await engine.floor.open()
        gc.disable()  # a million jobs are loaded: no garbage is among them
        await recovery.recover(engine, last)
        _spare_collector()
        engine.start()
        stack.push_async_callback(engine.stop)
        engine.schedules = Schedules(engine)
        await engine.schedules.start()
        stack.push_async_callback(engine.schedules.stop)
        engine.supervision = Supervision(engine, self._folder.lock_file, self.settings.retention)
        self.engine.supervision.start()
        stack.push_async_callback(self.engine.supervision.stop)
        await self._listen()
        self._warn()

    def _core(self) -> Scheduler:
        return Scheduler(*resources(self.settings))

    async def _used(self, reader: Reader) -> frozenset[str]:
        return configured_queues(list(self._lanes.values()), config.builtin_queues()) | await reader.used_queues()

    async def _begin_life(self, writer: Writer) -> tuple[str, recovery.LastLife]:
        """This server's id, and how the one before it ended."""
        server_id = await writer.meta_get("server_id") or secrets.token_hex(4)
        boot_id = recovery.boot_id()
        rebooted = await writer.meta_get("boot_id") != boot_id
        clean = rebooted or await writer.meta_get("running") != "yes"
        await writer.meta_put(server_id=server_id, boot_id=boot_id, running="yes")
        return server_id, recovery.LastLife(clean=clean, ended_at=self._last_alive_at or 0.0)

    async def _listen(self) -> None:
        runner = await start_site(build_app(self.engine, self.settings), self.settings)
        self._stack.push_async_callback(runner.cleanup)
        host, port = runner.addresses[0][:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _warn(self) -> None:
        version = tuple(int(part) for part in sqlite3.sqlite_version.split("."))
        if version < SAFE_SQLITE:
            log.info("SQLite %s; 3.51.3 and later are free of a known WAL fault", sqlite3.sqlite_version)
        for lane in self._lanes.values():
            if not lane.health.ready and lane.name in self.engine.used:
                log.warning("queue %s cannot run jobs: %s", lane.name, lane.health.message)

    async def run(self) -> int:
        """Serve until a signal; the exit status."""
        stop, at_once = asyncio.Event(), asyncio.Event()

        def on_signal() -> None:
            (at_once if stop.is_set() else stop).set()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        async with self._stack:
            await self.start()
            print(f"hpcq {hpcq.__version__} serves {self.url}, data in {self.data_dir}", flush=True)
            self.engine.fatal.add_done_callback(lambda _: stop.set())
            await stop.wait()
            if self.engine.fatal.done():
                return self.engine.fatal.result()
            await self._drain(at_once)
            return self.engine.fatal.result() if self.engine.fatal.done() else 0

    async def _drain(self, at_once: asyncio.Event) -> None:
        """Start nothing more, let running jobs go on for a while, requeue the rest; a second signal cuts it short."""
        engine = self.engine
        engine.draining = True
        await engine.schedules.stop()
        engine.post(Draining())
        log.info("draining: %d attempts are live", len(engine.floor.live))
        await self._until_idle(self.settings.server.drain_grace_s, at_once)
        for attempt in list(engine.floor.live.values()):
            engine.post(StopRequested(attempt.job, attempt.attempt, StopReason.DRAIN))
        graces = [lane.config.grace_s for lane in self._lanes.values()]
        await self._until_idle(max(graces) + REQUEUE_S, at_once)
        await self.engine.supervision.stop()
        await engine.stop()
        if not engine.floor.live:
            await engine.writer.meta_put(running="no")

    async def _until_idle(self, seconds: float, at_once: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.engine.floor.live and not at_once.is_set() and not self.engine.fatal.done():
                    done = (self.engine.round_done(), at_once.wait(), asyncio.shield(self.engine.fatal))
                    waits = [asyncio.ensure_future(each) for each in done]
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                    for each in waits:
                        each.cancel()


def _spare_collector() -> None:
    """What waits is long-lived and has no cycles: walking a million jobs again and again would find nothing."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(10_000, 5, 200)  # passes of some 10 ms each, also while a hundred thousand jobs come in


def serve(settings: Settings, *, rehearse: bool = False) -> int:
    """Serve until a signal; the exit status. Raises ConfigError, StoreLocked, StoreTooNew, OSError."""
    server = Server(settings, rehearse=rehearse)
    server.prepare()
    return asyncio.run(server.run())
