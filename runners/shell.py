"""The shell runner: one command a job; nothing of its tree outlives it."""

import asyncio
from typing import Any, ClassVar, Literal

from hpcq.plugin import Failure, Handle, Infra, Outcome, Request, Runner
from hpcq_runners.command import Command, start
from hpcq_runners.command_params import CommandParams


class ShellRunner(Runner):
    """Runs a program, or a line for `sh -c`, and answers what it wrote to $HPCQ_RESULT, or `{"exit_code", "tail"}`."""

    API_VERSION: ClassVar[str] = "1.0"
    params: ClassVar[Any] = CommandParams
    durable_handle: ClassVar[bool] = False
    isolation: ClassVar[Literal["thread", "loop"]] = "loop"

    def __init__(self) -> None:
        self._begun: dict[str, Command | Failure] = {}

    async def start(self, request: Request) -> Handle:
        """A command that cannot be started is a failed job, not a failed `start`."""
        begun = self._begun[request.key] = await start(request)
        return {"pid": begun.pid} if isinstance(begun, Command) else {}

    async def wait(self, request: Request, handle: Handle) -> Outcome:  # noqa: ARG002
        begun = self._begun.get(request.key)
        if begun is None:
            raise Infra(f"no command of {request.key} was started here")
        outcome = await asyncio.shield(begun.outcome) if isinstance(begun, Command) else Outcome(error=begun)
        self._begun.pop(request.key, None)
        return outcome

    async def stop(self, request: Request, handle: Handle, grace_s: float) -> None:  # noqa: ARG002
        begun = self._begun.get(request.key)
        if isinstance(begun, Command):
            await begun.stop(grace_s)

    async def close(self) -> None:
        """Whatever still runs is killed; nobody waits for its outcome."""
        commands = [begun for begun in self._begun.values() if isinstance(begun, Command)]
        self._begun.clear()
        await asyncio.gather(*(command.stop(0.0) for command in commands))
        await asyncio.gather(*(command.outcome for command in commands), return_exceptions=True)
