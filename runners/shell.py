"""The shell runner: one command a job, or the tests of an AppWright project; nothing of its tree outlives it."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel

from hpcq.plugin import Context, Failure, Handle, Health, Infra, Outcome, Part, Rejected, Request, Runner
from hpcq_runners import command
from hpcq_runners.appwright import run
from hpcq_runners.appwright.attempt import Attempt
from hpcq_runners.appwright.modules import uploads_lack
from hpcq_runners.appwright.params import AppwrightParams
from hpcq_runners.appwright.settings import AppwrightSettings
from hpcq_runners.appwright.split import split
from hpcq_runners.appwright.tools import lacking
from hpcq_runners.forms import CommandOrTests


class ShellRunner(Runner):
    """Runs a program, or a line for `sh -c`, and answers what it wrote to $HPCQ_RESULT, or `{"exit_code", "tail"}`;
    or runs tests, and answers their verdicts."""

    API_VERSION: ClassVar[str] = "1.0"
    params: ClassVar[Any] = CommandOrTests
    settings: ClassVar[type[BaseModel]] = AppwrightSettings
    durable_handle: ClassVar[bool] = False
    isolation: ClassVar[Literal["thread", "loop"]] = "loop"

    def __init__(self) -> None:
        self._begun: dict[str, command.Command | Attempt | Failure] = {}
        self._context: Context | None = None

    async def open(self, context: Context) -> None:
        self._context = context
        await asyncio.to_thread(run.clear, context.data_dir)

    async def health(self) -> Health:
        """Commands need nothing. Tests do; that uploaded ones lack something is no fault while nobody runs any."""
        context = self._opened()
        missing = await asyncio.to_thread(lacking, context.settings)
        return Health(True, f"commands run, but tests cannot: {missing}" if missing else uploads_lack(context))

    async def split(self, params: Any, blob: Callable[[str], Path]) -> Sequence[Part]:
        if not isinstance(params, AppwrightParams):
            raise Rejected("a command cannot be split; only tests can")
        return await split(params, self._opened(), blob)

    async def start(self, request: Request) -> Handle:
        """A command that cannot be started is a failed job, not a failed `start`. Of tests the project may have to be
        unpacked first: that is a part of the attempt, which its timeout and a stop end."""
        if isinstance(request.params, AppwrightParams):
            self._begun[request.key] = Attempt(request, self._opened())
            return {}
        self._begun[request.key] = begun = await command.start(request)
        return {} if isinstance(begun, Failure) else {"pid": begun.pid}

    async def wait(self, request: Request, handle: Handle) -> Outcome:  # noqa: ARG002
        begun = self._begun.get(request.key)
        if begun is None:
            raise Infra(f"nothing of {request.key} was started here")
        if isinstance(begun, Failure):
            self._begun.pop(request.key)
            return Outcome(error=begun)
        try:
            return await asyncio.shield(begun.outcome)
        finally:
            if begun.outcome.done():
                self._begun.pop(request.key, None)

    async def stop(self, request: Request, handle: Handle, grace_s: float) -> None:  # noqa: ARG002
        begun = self._begun.get(request.key)
        if begun is not None and not isinstance(begun, Failure):
            await begun.stop(grace_s)

    async def close(self) -> None:
        """Whatever still runs is killed; nobody waits for its outcome."""
        under_way = [begun for begun in self._begun.values() if not isinstance(begun, Failure)]
        self._begun.clear()
        await asyncio.gather(*(each.stop(0.0) for each in under_way))
        await asyncio.gather(*(each.outcome for each in under_way), return_exceptions=True)

    def _opened(self) -> Context:
        if self._context is None:
            raise Infra("the runner was not opened")
        return self._context
