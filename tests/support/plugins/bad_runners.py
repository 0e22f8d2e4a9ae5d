"""Runners that do what no runner should, to see that only their own jobs suffer; and `Spawns`, which behaves."""

import asyncio
import sys
import time
from typing import Any

from pydantic import BaseModel, model_validator

from hpcq.plugin import Failure, Handle, Health, Outcome, Request, Runner, Slot


class WrongVersion(Runner):
    API_VERSION = "7.0"


class NoRunner:
    pass


class Well(Runner):
    """Runs nothing, well."""

    async def start(self, request: Request) -> Handle:
        return {"key": request.key}

    async def wait(self, request: Request, handle: Handle) -> Outcome:
        return Outcome(result={"handle": handle})

    async def stop(self, request: Request, handle: Handle, grace_s: float) -> None:
        return None


class OpenRaises(Well):
    async def open(self, context: Any) -> None:
        raise RuntimeError("no such licence server")


class InitExits(Well):
    def __init__(self) -> None:
        sys.exit(4)


class ExitingSettings(BaseModel):
    @model_validator(mode="before")
    @classmethod
    def exits(cls, value: Any) -> Any:
        sys.exit(f"no licence for {value}")


class SettingsExit(Well):
    settings = ExitingSettings


class SlotsWrong(Well):
    async def open(self, context: Any) -> None:
        context.set_slots([Slot("x", None)])  # type: ignore[arg-type]


class PauseWrong(Well):
    """Pauses its queue when a job comes, with what is no sentence."""

    async def open(self, context: Any) -> None:
        self._context = context

    async def start(self, request: Request) -> Handle:
        self._context.pause(ValueError("overheated"))
        return {}


class HealthWrong(Well):
    async def health(self) -> Health:
        return Health(False, ValueError("no device"))  # type: ignore[arg-type]


class HealthCancels(Well):
    async def health(self) -> Health:
        raise asyncio.CancelledError


class StartCancels(Well):
    async def start(self, request: Request) -> Handle:
        raise asyncio.CancelledError


class RetryText(Well):
    async def wait(self, request: Request, handle: Handle) -> Outcome:
        return Outcome(error=Failure("exit", "later, please", retry_after_s="5"))  # type: ignore[arg-type]


class StartRaises(Well):
    async def start(self, request: Request) -> Handle:
        raise ZeroDivisionError("a bug")


class StartExits(Well):
    async def start(self, request: Request) -> Handle:
        sys.exit(9)


class WaitBlocks(Well):
    async def wait(self, request: Request, handle: Handle) -> Outcome:
        time.sleep(1000)  # noqa: ASYNC251  (that is the point)
        return Outcome()


class StopHangs(Well):
    async def wait(self, request: Request, handle: Handle) -> Outcome:
        await asyncio.sleep(1000)
        return Outcome()

    async def stop(self, request: Request, handle: Handle, grace_s: float) -> None:
        await asyncio.sleep(1000)


class NoJson(Well):
    async def start(self, request: Request) -> Handle:
        return {"socket": object()}


class NoOutcome(Well):
    async def wait(self, request: Request, handle: Handle) -> Any:
        return "fine"


class KeyBlocks(Well):
    def session_key(self, params: Any) -> str | None:
        time.sleep(1000)
        return None


class Spawns(Well):
    """A process of its own, from the runner's own thread."""

    async def wait(self, request: Request, handle: Handle) -> Outcome:
        process = await request.spawn(["sh", "-c", "echo from the plugin"])
        request.report(1, 2, "half")
        ended = await process.wait()
        return Outcome(result={"code": ended.code})
