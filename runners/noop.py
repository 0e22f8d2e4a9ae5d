"""The noop runner: does nothing, for as long as asked; for rehearsals and benchmarks."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from hpcq.plugin import Failure, Handle, Outcome, Request, Runner

REPORT_EVERY_S = 1.0
LONGEST_S = 365 * 86_400


class NoopParams(BaseModel):
    """How long to last and how to end."""

    model_config = ConfigDict(extra="forbid")

    duration_s: float = Field(0, ge=0, le=LONGEST_S, allow_inf_nan=False)
    fail: bool = False
    message: str = Field("", max_length=10_000)


@dataclass(slots=True)
class Running:
    """An attempt under way: nothing but a span on the loop's clock, in seconds."""

    began: float
    duration_s: float
    stopped: asyncio.Event = field(default_factory=asyncio.Event)


class NoopRunner(Runner):
    """Reports its progress in seconds and answers `{"message"}`; the params of another runner count as the defaults."""

    API_VERSION: ClassVar[str] = "1.0"
    params: ClassVar[Any] = NoopParams
    durable_handle: ClassVar[bool] = False

    def __init__(self) -> None:
        self._running: dict[str, Running] = {}

    async def start(self, request: Request) -> Handle:
        duration_s = getattr(request.params, "duration_s", 0)
        self._running[request.key] = Running(asyncio.get_running_loop().time(), duration_s)
        return {}

    async def wait(self, request: Request, handle: Handle) -> Outcome:  # noqa: ARG002
        running = self._running[request.key]
        if running.duration_s:
            await self._last(request, running)
        del self._running[request.key]
        message = getattr(request.params, "message", "")
        if running.stopped.is_set():
            return Outcome(error=Failure("signal", "stopped", signal=15))
        if getattr(request.params, "fail", False):
            return Outcome(error=Failure("exit", message or "asked to fail", exit_code=1))
        return Outcome(result={"message": message})

    async def stop(self, request: Request, handle: Handle, grace_s: float) -> None:  # noqa: ARG002
        running = self._running.get(request.key)
        if running is not None:
            running.stopped.set()

    async def close(self) -> None:
        for running in self._running.values():
            running.stopped.set()

    async def _last(self, request: Request, running: Running) -> None:
        """Wait for the end of the span, or a stop."""
        now = asyncio.get_running_loop().time
        while not running.stopped.is_set():
            done = min(now() - running.began, running.duration_s)
            request.report(round(done, 3), running.duration_s)
            if done >= running.duration_s:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(running.stopped.wait(), min(REPORT_EVERY_S, running.duration_s - done))
