"""One slot's worker process: an executor of its own, so that a death costs one attempt of one job."""

import asyncio
import contextlib
import signal
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any, cast

import orjson

from hpcq.plugin import Failure, Outcome, Usage
from hpcq.plugin.types import Log
from hpcq_runners.matrix import cells, forkserver, worker

FLIGHTS = 2  # one that runs, and one for the worker to take up without waiting for us
LARGEST_FLIGHT = 16  # small jobs in one message
START_LIMIT_S = 30.0
ENSURE_S = 8.0  # health has 10
NO_STATUS = 255  # what multiprocessing says when the forkserver, which would know, is gone
STOPPED = Outcome(error=Failure("signal", "stopped", signal=int(signal.SIGKILL)))


@dataclass(slots=True, eq=False)
class Entry:
    """One attempt in the pool's hands; `done` gets its outcome."""

    body: bytes | str
    small: bool  # takes far less than a millisecond, and can be repeated: travels with others
    done: "asyncio.Future[Outcome]"
    stopped: bool = False
    number: int = 0  # given when it goes to the worker, so that numbers increase in the worker's eyes

    def end(self, outcome: Outcome) -> None:
        if not self.done.done():
            self.done.set_result(outcome)


@dataclass(slots=True, eq=False)
class Worker:
    """A running worker process and what we gave it."""

    executor: ProcessPoolExecutor
    process: ForkServerProcess
    cells: cells.Cells
    flights: deque[list[Entry]] = field(default_factory=deque)
    stopped: bool = False  # killed on purpose: nobody but the stopped job is to suffer

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


class SlotPool:
    """Runs the jobs of one slot in their order. All methods are called on the event loop."""

    def __init__(self, slot: str, log: Log) -> None:
        self.slot = slot
        self.trouble = ""  # why no worker can be had
        self._log = log
        self._numbers = 0
        self._waiting: deque[Entry] = deque()
        self._worker: Worker | None = None
        self._change: asyncio.Task[None] | None = None  # a worker being started, or buried and replaced
        self._closed = False

    # What the runner asks.

    def add(self, body: bytes | str, *, small: bool) -> Entry:
        """Put a job at the end of the line; `pump` sets it going."""
        entry = Entry(body, small, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        return entry

    def pump(self) -> None:
        """Keep the worker's hands full."""
        if self._worker is None:
            if self._waiting and self._change is None and not self._closed:
                self._change = asyncio.create_task(self._start())
            return
        while self._waiting and self._worker is not None and len(self._worker.flights) < FLIGHTS:
            self._send(self._worker, self._next_flight())

    def take_back(self, entry: Entry) -> bool:
        """Take a job out of the line. False: it has begun or has ended."""
        if entry.done.done():
            return False
        if entry in self._waiting:
            self._waiting.remove(entry)
        elif self._worker is None or not self._worker.cells.skip(entry.number):
            return False
        entry.end(STOPPED)
        return True

    async def stop(self, entry: Entry) -> None:
        """End a job; by killing the worker if it has begun. The others go on in a new one."""
        if entry.done.done() or self.take_back(entry):
            return
        entry.stopped = True
        if self._worker is not None:
            self._worker.stopped = True
            self._worker.kill()
        await asyncio.wait([entry.done])

    def alive(self) -> bool:
        """Whether the worker is there and not held up by a SIGSTOP, or is just being replaced."""
        if self._worker is None or self._worker.process.pid is None:
            return self._change is not None
        return forkserver.state(self._worker.process.pid) not in ("", "T", "t", "Z", "X")

    async def ensure(self) -> None:
        """Try again to get a worker, after trouble."""
        if self._worker is None and self._change is None and not self._closed:
            self._change = asyncio.create_task(self._start())
        if self._change is not None:
            await asyncio.wait([self._change], timeout=ENSURE_S)

    async def close(self) -> None:
        """Kill the worker and wait until it is gone."""
        self._closed = True
        if self._change is not None:
            await asyncio.wait([self._change])
        if self._worker is not None:
            self._worker.kill()
            await _bury(self._worker)
        for entry in self._entries():
            entry.end(STOPPED)

    # A worker's life.

    async def _start(self) -> None:
        try:
            try:
                self._worker = await asyncio.to_thread(_new_worker, forkserver.start())
            except (OSError, EOFError, BrokenProcessPool):  # the forkserver died just now: that makes a new one
                self._worker = await asyncio.to_thread(_new_worker, forkserver.start())
            self.trouble = ""
        except Exception as error:
            self.trouble = f"slot {self.slot}: no worker process could be started: {error or type(error).__name__}"
            self._log.error("%s", self.trouble)
            for entry in self._waiting:
                entry.end(Outcome(error=Failure("infra", self.trouble)))
            self._waiting.clear()
        self._change = None
        self.pump()

    def _next_flight(self) -> list[Entry]:
        flight = [self._waiting.popleft()]
        while flight[0].small and len(flight) < LARGEST_FLIGHT and self._waiting and self._waiting[0].small:
            flight.append(self._waiting.popleft())
        return flight

    def _send(self, to: Worker, flight: list[Entry]) -> None:
        loop = asyncio.get_running_loop()
        to.flights.append(flight)
        for entry in flight:
            self._numbers += 1
            entry.number = self._numbers
        try:
            future = to.executor.submit(worker.run, [(entry.number, entry.body) for entry in flight])
        except (BrokenProcessPool, RuntimeError):
            self._broken(to)
            return

        def landed(future: "Future[list[worker.Reply]]") -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._landed, to, flight, future)

        future.add_done_callback(landed)

    def _landed(self, at: Worker, flight: list[Entry], future: "Future[list[worker.Reply]]") -> None:
        if at is not self._worker:
            return  # it died, and its flights were seen to
        if future.cancelled() or future.exception() is not None:
            self._broken(at)
            return
        at.flights.remove(flight)
        skipped = []
        for entry, reply in zip(flight, future.result(), strict=True):
            if reply[0] == "skipped" and not entry.done.done():
                skipped.append(entry)  # `take_back` was told that it had begun, and it was not its last word
            else:
                entry.end(_outcome(reply))
        self._waiting.extendleft(reversed(skipped))
        self.pump()

    def _broken(self, dead: Worker) -> None:
        if dead is self._worker and not self._closed:
            self._worker = None
            self._change = asyncio.create_task(self._replace(dead))

    async def _replace(self, dead: Worker) -> None:
        """The job that ran gets the blame, or the forkserver does; the others go on in a new worker."""
        dead.kill()
        exit_code = await _bury(dead)
        if exit_code == NO_STATUS and await asyncio.to_thread(forkserver.gone, dead.cells.forkserver):
            exit_code = None
        began = dead.cells.running
        innocent = []
        for entry in (entry for flight in dead.flights for entry in flight if not entry.done.done()):
            if entry.stopped:
                entry.end(STOPPED)
            elif entry.number == began and not dead.stopped:  # else it began when the stopped one had just ended
                entry.end(_death(exit_code))
            else:
                innocent.append(entry)
        self._waiting.extendleft(reversed(innocent))
        await self._start()

    def _entries(self) -> Iterable[Entry]:
        yield from self._waiting
        for flight in self._worker.flights if self._worker is not None else ():
            yield from flight


def _new_worker(context: ForkServerContext) -> Worker:
    """Start a process and wait until it answers; in a thread, for it takes tens of milliseconds."""
    array = context.RawArray("q", cells.SIZE)
    executor = ProcessPoolExecutor(1, mp_context=context, initializer=worker.begin, initargs=(array,))
    try:
        ready = executor.submit(worker.warm)
        # Private, but there is no other way to its exit code, and to kill it before Python 3.14.
        process = cast(ForkServerProcess, next(iter(executor._processes.values())))
        ready.result(timeout=START_LIMIT_S)
    except BaseException:
        for begun in list((executor._processes or {}).values()):
            begun.kill()
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    return Worker(executor, process, cells.Cells(array))


async def _bury(dead: Worker) -> int | None:
    """Wait until a killed worker is gone; its exit code, negative for a signal."""
    await asyncio.to_thread(dead.executor.shutdown, wait=True, cancel_futures=True)
    return dead.process.exitcode


def _death(exit_code: int | None) -> Outcome:
    """What became of the job that ran in a worker that ended; None: its forkserver died, and nobody knows."""
    if exit_code is None:
        return Outcome(error=Failure("infra", "the forkserver was killed, and the worker with it"))
    if exit_code < 0:
        name = signal.strsignal(-exit_code) or "unknown"
        message = f"the worker process was killed by signal {-exit_code} ({name}) while it ran this job"
        return Outcome(error=Failure("signal", message, signal=-exit_code, worker_died=True))
    message = f"the worker process ended with exit code {exit_code} while it ran this job"
    return Outcome(error=Failure("exit", message, exit_code=exit_code))


def _outcome(reply: worker.Reply) -> Outcome:
    kind, body, cpu_s, peak_mb = reply
    usage = Usage(max_rss_mb=peak_mb, cpu_s=cpu_s)
    if kind == "ok":
        return Outcome(result=orjson.loads(body), usage=usage)
    return Outcome(error=Failure(cast(Any, kind), body.decode()), usage=usage)
