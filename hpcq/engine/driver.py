"""One slot at work: it prepares the session, hands attempts to the runner in order, and says how they ended."""

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from hpcq.core.events import Finished, Recalled, SessionEnded, Started
from hpcq.core.job import ErrorType
from hpcq.engine.alarm import now
from hpcq.engine.attempt import Attempt
from hpcq.engine.host import RunnerFault
from hpcq.engine.lane import START_S, Lane
from hpcq.engine.messages import Ended, HandleMade, Message
from hpcq.engine.scope import Scope, ScopeSpawn
from hpcq.engine.spawned import spawn
from hpcq.engine.testcases import judged
from hpcq.engine.verdict import checked, failure_of, said
from hpcq.plugin import Handle, Infra, Outcome, Runner, RunnerError

log = logging.getLogger("hpcq.driver")
RECALL_S = 10.0
STOP_S = 5.0  # beyond the grace


class SessionSlot:
    """The slot as its runner sees it; its processes live as long as its session."""

    def __init__(self, name: str, labels: Mapping[str, str], spawn_: ScopeSpawn) -> None:
        self.name = name
        self.labels = labels
        self.spawn = spawn_


class Driver:
    """Drives one slot. `post` puts a message into the engine's inbox."""

    def __init__(self, lane: Lane, slot: SessionSlot, session: Scope, post: Callable[[Message], None]) -> None:
        self.lane = lane
        self.slot = slot
        self.scope = Scope(session.loop, self._over_memory)
        self._session = session
        self._session_key: str | None = None
        self._post = post
        self._waiting: deque[Attempt] = deque()
        self._handed: deque[tuple[Attempt, Handle]] = deque()
        self._preparing: asyncio.Task[None] | None = None
        self._current: Attempt | None = None
        self._stopping: set[Attempt] = set()
        self._recalls: dict[Attempt, asyncio.Task[None]] = {}
        self._window = 1 + lane.ahead  # attempts that the runner may have: the running one, and those ahead
        self._waits: dict[Attempt, asyncio.Task[Outcome]] = {}
        self._wake = asyncio.Event()
        self._work = spawn(self._run(), f"slot {slot.name}")
        self.on_over_memory: Callable[[Attempt], None] = lambda _attempt: None

    # Called by the engine after a round's commit.

    def give(self, attempt: Attempt) -> None:
        """The next attempt of this slot, behind those it has."""
        if attempt.stop_grace_s is not None:
            self._finish_unbegun(attempt)
            return
        self._waiting.append(attempt)
        self._wake.set()

    def recall(self, attempt: Attempt) -> None:
        """Take a claim back, if it has not begun."""
        if attempt in self._waiting:
            self._waiting.remove(attempt)
            self._post(Recalled(attempt.job, attempt.attempt))
            return
        for handed, handle in self._handed:
            if handed is attempt and handed.began is None and handed not in self._recalls:
                self._recalls[handed] = spawn(self._recall(handed, handle), f"recall {handed.key}")

    def stop(self, attempt: Attempt, grace_s: float) -> None:
        """End an attempt, wherever it is; one that the runner is done with has ended."""
        if attempt.over:
            return
        attempt.stop_grace_s = grace_s
        if attempt in self._waiting:
            self._waiting.remove(attempt)
            self._finish_unbegun(attempt)
            return
        for handed, handle in self._handed:
            if handed is attempt:
                self._stop_handed(handed, handle)
                return
        if self._preparing is not None and self._current is attempt:
            self._preparing.cancel()

    def resume(self, attempt: Attempt, handle: Handle) -> None:
        """After a restart: an attempt that the runner has found again."""
        self._handed.append((attempt, handle))
        self._wake.set()

    @property
    def idle(self) -> bool:
        """It has nothing to do."""
        return not (self._waiting or self._handed or self._current)

    @property
    def live(self) -> list[tuple[Attempt, Handle]]:
        """Attempts that have begun."""
        return [(attempt, handle) for attempt, handle in self._handed if attempt.began is not None]

    async def close(self) -> None:
        """Stop driving, end the session and all processes."""
        for work in (self._work, self._preparing, *self._waits.values()):
            if work is not None:
                work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._work
        await self.scope.close()
        self._session_key = None
        await self.lane.release(self.slot)
        await self._session.close()

    # The slot's own life.

    async def _run(self) -> None:
        while True:
            if not self._waiting and not self._handed:
                await self._idle()
            try:
                await self._hand_over()
                if self._handed and (recall := self._recalls.get(self._handed[0][0])):
                    await asyncio.wait({recall})  # its turn has come, unless it is taken back
                elif self._handed:
                    await self._see_through(*self._handed[0])
            except Exception as error:
                log.exception("queue %s slot %s: a bug", self.lane.name, self.slot.name)
                while self._handed:
                    await self._ended_by(self._handed.popleft()[0], error)

    async def _idle(self) -> None:
        """Wait for work; a session that stays without it for `idle_s` is released."""
        self._wake.clear()
        if self._session_key is None:
            await self._wake.wait()
            return
        try:
            await asyncio.wait_for(self._wake.wait(), self.lane.config.idle_s)
        except TimeoutError:
            await self._release()
            self._post(SessionEnded(self.lane.name, self.slot.name))

    async def _recall(self, attempt: Attempt, handle: Handle) -> None:
        """Ask the runner for a claim back; one that has begun stays."""
        try:
            runner = self._runner()
            if await self.lane.call(lambda: runner.recall(attempt, handle), RECALL_S, "recall"):
                self._handed.remove((attempt, handle))
                self._post(Recalled(attempt.job, attempt.attempt))
        except Exception as error:
            log.warning("queue %s: recalling %s: %s", self.lane.name, attempt.key, error)
        finally:
            del self._recalls[attempt]

    @property
    def _room(self) -> bool:
        """The runner can be given the next waiting attempt, beside those it has."""
        if not self._waiting:
            return False
        if not self._handed:
            return True
        return len(self._handed) < self._window and self._waiting[0].session_key == self._session_key

    async def _hand_over(self) -> None:
        """Give waiting attempts to the runner in one message, as many as it takes ahead."""
        batch: list[Attempt] = []
        while self._room and len(self._handed) + len(batch) < self._window:
            attempt = self._waiting.popleft()
            self._current = attempt
            if not await self._prepared(attempt):
                break
            batch.append(attempt)
            if self._waiting and self._waiting[0].session_key != self._session_key:
                break
        if batch:
            await self._start(batch)
        self._current = None

    async def _prepared(self, attempt: Attempt) -> bool:
        """The slot has the attempt's session; False: it has ended already."""
        if not await self._has_session(attempt):
            return False
        if attempt.stop_grace_s is not None:  # a stop came meanwhile
            self._finish_unbegun(attempt)
            return False
        return True

    async def _has_session(self, attempt: Attempt) -> bool:
        runner = self.lane.runner
        if runner is None:
            await self._end(attempt, failure_of(Infra(self.lane.health.message)), session_lost=True)
            return False
        if attempt.session_key == self._session_key:
            return True
        await self._release()
        if attempt.session_key is None:
            return True
        if attempt.stop_grace_s is not None:
            return True
        self._session_key = attempt.session_key  # from here on there is something to release
        limit = self.lane.config.prepare_timeout_s
        prepare = self.lane.call(lambda: runner.prepare(self.slot, attempt), limit, "prepare")
        self._preparing = spawn(prepare, f"prepare {attempt.key}")
        try:
            await self._preparing
        except asyncio.CancelledError:
            if (current := asyncio.current_task()) and current.cancelling():
                raise
            await self._release()
            self._finish_unbegun(attempt, session_lost=True)
            return False
        except Exception as error:
            self._log_bug(attempt, error)
            await self._release()
            broken = error if isinstance(error, Infra) else Infra(f"prepare failed: {said(error)}")
            await self._ended_by(attempt, broken, session_lost=True)
            return False
        finally:
            self._preparing = None
        return True

    async def _start(self, batch: list[Attempt]) -> None:
        try:
            runner = self._runner()
            handles = await self.lane.call(lambda: runner.start_many(batch), START_S, "start")
            texts = [orjson.dumps(handle) for handle in handles]
            if len(handles) != len(batch) or any(len(text) > 65536 for text in texts):
                raise ValueError(f"start_many of {len(batch)} returned {len(handles)} handles, of at most 64 KiB each")
        except Exception as error:
            for attempt in batch:
                await self._ended_by(attempt, error)
            return
        for attempt, handle, text in zip(batch, handles, texts, strict=True):
            self._handed.append((attempt, handle))
            if self.lane.durable:
                await self._save(attempt, text)
            if attempt.stop_grace_s is not None:
                self._stop_handed(attempt, handle)

    async def _save(self, attempt: Attempt, handle: bytes) -> None:
        reply: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._post(HandleMade(attempt.job, attempt.attempt, handle, reply))
        await reply

    async def _see_through(self, attempt: Attempt, handle: Handle) -> None:
        """Wait for the end of the attempt that is first in the runner's hands."""
        if attempt.began is None:
            attempt.begin(now())
            self._post(Started(attempt.job, attempt.attempt))
        wait = self._waits[attempt] = spawn(self._outcome(attempt, handle), f"wait {attempt.key}")
        if attempt.stop_grace_s is not None and attempt not in self._stopping:
            spawn(self._give_up(wait), f"give up {attempt.key}")
        while len(self._handed) <= self._window // 2 and self.lane.ahead and not wait.done():
            self._wake.clear()
            woken = spawn(self._wake.wait(), "woken")
            await asyncio.wait({wait, woken}, return_when=asyncio.FIRST_COMPLETED)
            woken.cancel()
            if self._room:
                await self._hand_over()
        try:
            outcome = await wait
        except asyncio.CancelledError:
            if (current := asyncio.current_task()) and current.cancelling():
                raise
            outcome = failure_of(RunnerFault(f"did not end the attempt within {STOP_S:g} s of being told to"))
        del self._waits[attempt]
        self._handed.popleft()
        await self._after(attempt, outcome)

    async def _outcome(self, attempt: Attempt, handle: Handle) -> Outcome:
        runner = self._runner()
        try:
            return checked(await self.lane.call(lambda: runner.wait(attempt, handle), None, "wait"))
        except Exception as error:
            self._log_bug(attempt, error)
            await self._end_runner_work(attempt, handle)
            return failure_of(error)

    def _runner(self) -> Runner:
        if self.lane.runner is None:
            raise Infra(self.lane.health.message)
        return self.lane.runner

    async def _end_runner_work(self, attempt: Attempt, handle: Handle) -> None:
        """`wait` failed: whatever still runs must not."""
        with contextlib.suppress(Exception):
            runner = self._runner()
            await self.lane.call(lambda: runner.stop(attempt, handle, 0.0), STOP_S, "stop")

    def _stop_handed(self, attempt: Attempt, handle: Handle) -> None:
        if attempt not in self._stopping:
            self._stopping.add(attempt)
            spawn(self._stop(attempt, handle, attempt.stop_grace_s or 0.0), f"stop {attempt.key}")

    async def _stop(self, attempt: Attempt, handle: Handle, grace_s: float) -> None:
        """Tell the runner to end it; one that does not listen loses its processes, and then its say."""
        try:
            runner = self._runner()
            limit = grace_s + STOP_S
            await self.lane.call(lambda: runner.stop(attempt, handle, grace_s), limit, "stop")
        except Exception as error:
            log.warning("queue %s: stopping %s: %s", self.lane.name, attempt.key, error)
            await self.scope.end()
        self._stopping.discard(attempt)
        if wait := self._waits.get(attempt):
            await self._give_up(wait)

    async def _give_up(self, wait: asyncio.Task[Outcome]) -> None:
        """A runner that was told to stop has so long to return from `wait`."""
        await asyncio.wait({wait}, timeout=STOP_S)
        wait.cancel()

    # Ends.

    def _finish_unbegun(self, attempt: Attempt, *, session_lost: bool = False) -> None:
        """It was stopped before it began: the saved reason decides."""
        attempt.over = True
        outcome = failure_of(Infra("stopped before it began"))
        self._post(Ended(finished(attempt, outcome, session_lost=session_lost), attempt, outcome))

    def _log_bug(self, attempt: Attempt, error: Exception) -> None:
        """Whoever wrote the runner wants to see where it was."""
        if not isinstance(error, RunnerError):
            log.warning("queue %s: the runner failed at %s", self.lane.name, attempt.key, exc_info=error)

    async def _ended_by(self, attempt: Attempt, error: Exception, *, session_lost: bool = False) -> None:
        self._log_bug(attempt, error)
        attempt.over = True
        await self.scope.end()
        await self._end(attempt, failure_of(error), session_lost=session_lost)

    async def _after(self, attempt: Attempt, outcome: Outcome) -> None:
        """The runner is done with it: nothing of it may live, and then the place is free."""
        attempt.over = True
        if attempt.has_processes:
            await self.scope.end()
        await self._end(attempt, outcome)

    async def _end(self, attempt: Attempt, outcome: Outcome, *, session_lost: bool = False) -> None:
        attempt.over = True
        outcome = judged(outcome, attempt.previous)
        artifacts = None
        try:
            artifacts = await attempt.clean()
        except Exception as error:  # whatever a job did to its folders, its end is told
            log.warning("queue %s: cleaning up after %s: %s", self.lane.name, attempt.key, error)
        if outcome.error is not None and outcome.error.type == "infra":
            spawn(self.lane.ask_health(), f"health of {self.lane.name}")
        self._post(Ended(finished(attempt, outcome, session_lost=session_lost), attempt, outcome, artifacts))

    async def _release(self) -> None:
        if self._session_key is not None:
            self._session_key = None
            await self.lane.release(self.slot)
            await self._session.end()

    def _over_memory(self) -> None:
        for attempt, _ in self._handed:
            if attempt.has_processes:
                self.on_over_memory(attempt)

    async def alive(self, attempt: Attempt, handle: Handle) -> bool:
        """Whether supervision can vouch for a live attempt."""
        if attempt.has_processes and not await self.scope.alive():
            return False
        runner = self._runner()
        answer: Any = await self.lane.call(lambda: runner.alive(attempt, handle), 10.0, "alive")
        return answer is True


def finished(attempt: Attempt, outcome: Outcome, *, session_lost: bool = False) -> Finished:
    """What the core must know of an attempt's end."""
    error = outcome.error
    return Finished(
        job=attempt.job,
        attempt=attempt.attempt,
        failure=ErrorType(error.type) if error else None,
        retry_after_s=error.retry_after_s if error else None,
        draw=random.random(),
        worker_died=error is not None and error.worker_died,
        session_lost=session_lost,
        run_s=None if attempt.began is None else now().mono - attempt.began,
    )
