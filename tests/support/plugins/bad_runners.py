"""Runners that do what no runner should, to see that only their own jobs suffer; and `Spawns`, which behaves."""

import asyncio
import sys
import time
from typing import Any

from hpcq.plugin import Handle, Outcome, Request, Runner


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
