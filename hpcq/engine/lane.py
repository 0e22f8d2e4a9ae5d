"""One queue as the engine sees it: its settings and its runner, opened, asked for health, and called within limits."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from hpcq.config import ConfigError, Queue
from hpcq.core.job import QueueSettings, RetryPolicy
from hpcq.engine.host import Host, LoopHost, Overrun, ThreadHost
from hpcq.engine.registry import Found
from hpcq.plugin import Context, Health, Runner, SlotView

T = TypeVar("T")
log = logging.getLogger("hpcq.lane")

OPEN_S, HEALTH_S, START_S, ATTACH_S, RELEASE_S, CLOSE_S, SUBMIT_S = 30.0, 10.0, 60.0, 30.0, 60.0, 30.0, 1.0


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
        self._running_class = rehearse or self.runner_class
        self._host: Host = LoopHost()
        self._adapter: TypeAdapter[Any] = TypeAdapter(self.runner_class.params)
        self._validator = self._adapter.validator
        self.settings = self._settings()
        self.timeout_s = config.timeout_s
        self.retries = RetryPolicy(**config.retries.model_dump())
        self.default_resources: Mapping[str, float] = self.runner_class.default_resources

    def _settings(self) -> Any:
        """The runner's own keys of the queue's table. Raises ConfigError for wrong ones."""
        if self.broken:
            return None
        try:
            return self.runner_class.settings(**self.config.runner_settings)
        except ValidationError as error:
            known = sorted([*Queue.model_fields, *self.runner_class.settings.model_fields])
            lines = [
                f"queues.{self.name}.{'.'.join(map(str, p['loc']))}: {p['msg']}; known keys are {', '.join(known)}"
                for p in error.errors(include_url=False)
            ]
            raise ConfigError("\n".join(lines)) from None

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
        """The runner's params model. Raises pydantic's ValidationError."""
        return self._validator.validate_python(params)

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
        try:
            runner = self._running_class()
            await self.call(lambda: runner.open(context), OPEN_S, "open")
        except Exception as error:
            self._found_health(Health(False, f"open failed: {error}"))
            log.warning("queue %s: runner %s: open failed: %s", self.name, self.runner_name, error)
            return
        self.runner = runner
        await self.ask_health()

    async def ask_health(self) -> Health:
        """Ask the runner whether it can run jobs."""
        if self.runner is not None:
            runner = self.runner
            try:
                health = await self.call(runner.health, HEALTH_S, "health")
                wrong = Health(False, f"health answered {health!r}, which is not a Health")
                self._found_health(health if isinstance(health, Health) else wrong)
                self._silent = False
            except Exception as error:
                self._found_health(Health(False, f"health failed: {error}"))
        return self.health

    def _found_health(self, health: Health) -> None:
        if health != self.health:
            self.health = health
            self.on_health()

    async def close(self) -> None:
        """Close the runner; an overrun is logged and left."""
        if self.runner is not None:
            runner = self.runner
            try:
                await self.call(runner.close, 1.0 if self._silent else CLOSE_S, "close")
            except Exception as error:
                log.warning("queue %s: runner %s: close failed: %s", self.name, self.runner_name, error)
        await self._host.close()

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

    async def release(self, slot: SlotView) -> None:
        """End a slot's session; a failure is logged, the session counts as ended."""
        if self.runner is not None:
            runner = self.runner
            try:
                await self.call(lambda: runner.release(slot), RELEASE_S, "release")
            except Exception as error:
                log.warning("queue %s slot %s: release failed: %s", self.name, slot.name, error)
