"""One queue as the engine sees it: its settings and its runner, opened, asked for health, and called within limits."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from hpcq.config import ConfigError, Queue
from hpcq.core.job import QueueSettings, RetryPolicy
from hpcq.engine.host import Host, LoopHost, Overrun, ThreadHost
from hpcq.engine.registry import Found
from hpcq.engine.verdict import checked_health, plain, said
from hpcq.plugin import Context, Health, Runner, RunnerError, SlotView
from hpcq.wording import expected

T = TypeVar("T")
log = logging.getLogger("hpcq.lane")

OPEN_S, HEALTH_S, START_S, ATTACH_S, RELEASE_S, CLOSE_S, SUBMIT_S = 30.0, 10.0, 60.0, 30.0, 60.0, 30.0, 1.0
SPLIT_S = 30.0
SPLITS_AT_ONCE = 2  # of one queue; each may start programs
SILENT_S = 1.0  # for a runner that has not answered lately


class Lane:
    """A queue with its runner. `rehearse`: jobs are validated for their own runner and run on this one instead."""

    def __init__(self, name: str, config: Queue, found: Found | None, rehearse: type[Runner] | None = None) -> None:
        self.name = name
        self.config = config
        self.runner_name = config.runner
        self.broken = found.problem if found else f"no runner {config.runner!r} is installed"
        self.foreign = bool(found and found.foreign and found.runner and found.runner.isolation == "thread")
        self.health = Health(False, "not opened yet")
        self.on_health: Callable[[], None] = lambda: None  # called when `health` has changed
        self.runner: Runner | None = None
        self.runner_class = (found.runner or Runner) if found else Runner
        self.rehearsing = rehearse is not None
        self.own_slots = False  # its runner offers slots of its own
        self._silent = False  # its runner did not answer in time, and has not answered since
        self._context: Context | None = None  # while the lane is open, or tries to be
        self._opening = False
        self._splits = asyncio.Semaphore(SPLITS_AT_ONCE)
        self._running_class = rehearse or self.runner_class
        self._host: Host = LoopHost()
        self._adapter: TypeAdapter[Any] = TypeAdapter(self.runner_class.params)
        self._validator = self._adapter.validator
        self.settings = self._settings()
        self.timeout_s = config.timeout_s
        self.retries = RetryPolicy(**config.retries.model_dump())
        self.default_resources: Mapping[str, float] = self.runner_class.default_resources

    def _settings(self) -> Any:
        """The runner's own keys of the queue's table. Raises ConfigError for wrong ones.

        A runner whose model fails in another way is broken, and the server starts without it.
        """
        if self.broken:
            return None
        try:
            return self.runner_class.settings(**self.config.runner_settings)
        except ValidationError as error:
            known = sorted([*Queue.model_fields, *self.runner_class.settings.model_fields])
            lines = [
                f"queues.{self.name}.{'.'.join(map(str, p['loc']))}: {expected(p)}; known keys are {', '.join(known)}"
                for p in error.errors(include_url=False)
            ]
            raise ConfigError("\n".join(lines)) from None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a third party's validators may raise anything, SystemExit included
            self.broken = plain(f"its settings cannot be read: {type(error).__name__}: {error}")
            return None

    def core_settings(self, *, paused: bool, paused_reason: str, slots: int | None) -> QueueSettings:
        """What the core must know of the queue, with what has been changed live."""
        return QueueSettings(
            name=self.name,
            slots=slots,
            paused=paused,
            paused_reason=paused_reason,
            batch_size=self.config.batch_size,
            lease_s=self.config.lease_s,
            grace_s=self.config.grace_s,
            ahead=self._running_class.ahead,
        )

    # What clients submit.

    def validate(self, params: dict[str, Any]) -> Any:
        """The runner's params model; its validators find the queue's settings in their context.

        Raises pydantic's ValidationError.
        """
        return self._validator.validate_python(params, context={"settings": self.settings})

    def request_params(self, params: dict[str, Any]) -> Any:
        """What the runner is given; in a rehearsal the stand-in's defaults."""
        return self._running_class.params() if self.rehearsing else self.validate(params)

    def session_key(self, params: Any) -> str | None:
        return self.runner.session_key(params) if self.runner else None

    def depends_on(self, params: Any) -> tuple[str, ...]:
        return tuple(self.runner.depends_on(params)) if self.runner else ()

    async def guarded(self, call: Callable[[], Any]) -> Any:
        """Run a foreign runner's synchronous code on its thread, at most 1 s."""

        async def run() -> Any:
            return call()

        return await self.call(run, SUBMIT_S, "checking params")

    @property
    def params_schema(self) -> dict[str, Any]:
        """JSON schema of the params."""
        return self._adapter.json_schema()

    # The runner's life.

    @property
    def durable(self) -> bool:
        return self._running_class.durable_handle

    @property
    def ahead(self) -> int:
        return self._running_class.ahead

    async def open(self, context: Context) -> None:
        """Make the runner and open it; what goes wrong is in `health`."""
        if self.broken:
            self._found_health(Health(False, self.broken))
            return
        if self.foreign and not self.rehearsing:
            self._host = ThreadHost(self.name)
        self._context = context
        await self.ask_health()

    async def ask_health(self) -> Health:
        """Ask the runner whether it can run jobs; one that did not open is made and opened anew first."""
        if self.runner is None and self._context is not None and not self._opening:
            self._opening = True
            try:
                await self._make_runner(self._context)
            finally:
                self._opening = False
        if self.runner is not None:
            runner = self.runner
            try:
                self._found_health(checked_health(await self.call(runner.health, HEALTH_S, "health")))
                self._silent = False
            except Exception as error:
                self._found_health(Health(False, plain(f"health failed: {said(error)}")))
        return self.health

    async def _make_runner(self, context: Context) -> None:
        """A runner's constructor is its own code too: it runs where the runner does, within `open`'s limit."""
        made: list[Runner] = []

        async def make_and_open() -> None:
            made.append(self._running_class())
            await made[0].open(context)

        try:
            await self._host.call(make_and_open, OPEN_S, f"{self.runner_name}: open")
        except Exception as error:
            self._silent = isinstance(error, Overrun)
            failed = Health(False, plain(f"open failed: {said(error)}"))
            if failed != self.health:  # else it has been said, at the last try
                shown = None if isinstance(error, RunnerError) else error
                log.warning("queue %s: runner %s: %s", self.name, self.runner_name, failed.message, exc_info=shown)
            self._found_health(failed)
            await self._close(made)
            return
        self._silent = False
        self.runner = made[0]

    def _found_health(self, health: Health) -> None:
        if health != self.health:
            self.health = health
            self.on_health()

    async def close(self) -> None:
        """Close the runner; an overrun is logged and left."""
        self._context = None
        await self._close([self.runner] if self.runner else [])
        await self._host.close()

    async def _close(self, runners: list[Runner]) -> None:
        for runner in runners:
            try:
                limit_s = await self._patience(runner, CLOSE_S)
                await self._host.call(runner.close, limit_s, f"{self.runner_name}: close")
            except Exception as error:
                log.warning("queue %s: runner %s: close failed: %s", self.name, self.runner_name, error)

    async def _patience(self, runner: Runner, limit_s: float) -> float:
        """The limit; little for a runner that was silent and still is, or one that hangs would hold up a shutdown."""
        if self._silent:
            try:
                await self._host.call(runner.health, SILENT_S, f"{self.runner_name}: health")
            except Exception:
                return SILENT_S
            self._silent = False
        return limit_s

    async def call(self, make: Callable[[], Awaitable[T]], limit_s: float | None, what: str) -> T:
        """Call into the runner within its limit.

        An overrun makes the queue unavailable until `health` says otherwise.
        """
        try:
            return await self._host.call(make, limit_s, f"{self.runner_name}: {what}")
        except Overrun as overrun:
            self._silent = True
            self._found_health(Health(False, str(overrun)))
            raise

    async def split(self, params: Mapping[str, Any], blob: Callable[[str], Path]) -> Any:
        """What an open runner makes of a job's params, a few jobs at a time.

        An overrun fails this call alone: that one submit's tests take long to list says nothing of the queue.
        """
        runner = self.runner
        assert runner is not None, "only an open runner is asked"

        async def split() -> Any:
            return await runner.split(self.validate(dict(params)), blob)

        async with self._splits:
            return await self._host.call(split, SPLIT_S, f"{self.runner_name}: split")

    async def release(self, slot: SlotView) -> None:
        """End a slot's session; a failure is logged, the session counts as ended."""
        if self.runner is not None:
            runner = self.runner
            try:
                limit_s = await self._patience(runner, RELEASE_S)
                await self.call(lambda: runner.release(slot), limit_s, "release")
            except Exception as error:
                log.warning("queue %s slot %s: release failed: %s", self.name, slot.name, error)
