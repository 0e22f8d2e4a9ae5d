"""A small good runner with sessions and processes, which tests spoil in one way or another."""

import asyncio
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from hpcq.plugin import Failure, Handle, Infra, Outcome, Process, Request, Runner, SlotView


class CowParams(BaseModel):
    """What a cow is asked to do, in which field."""

    model_config = ConfigDict(extra="forbid")

    sound: str = "moo"
    for_s: float = 0
    field: str | None = None


class Cow(Runner):
    """Moos in a child process; no sound is a failure. A field is a session, kept open by a gatekeeper process."""

    params: ClassVar[Any] = CowParams

    def __init__(self) -> None:
        self.work: dict[str, Process] = {}
        self.fields: dict[str, Process] = {}

    def session_key(self, params: Any) -> str | None:
        return params.field if isinstance(params, CowParams) else None

    async def prepare(self, slot: SlotView, request: Request) -> None:
        self.fields[slot.name] = await slot.spawn(["sleep", "600"])
        await asyncio.sleep(0.05)  # opening a gate takes a moment

    async def release(self, slot: SlotView) -> None:
        gatekeeper = self.fields.pop(slot.name, None)
        if gatekeeper is not None:
            await gatekeeper.terminate(1)

    async def start(self, request: Request) -> Handle:
        params: CowParams = request.params
        if params.field is not None and request.slot.name not in self.fields:
            raise Infra("the gate is closed")
        script = f"set -e; sleep {params.for_s}; echo {params.sound}; test -n '{params.sound}'"
        self.work[request.key] = await request.spawn(["sh", "-c", script])
        request.report(0, 1)
        return {"name": request.key}

    async def wait(self, request: Request, handle: Handle) -> Outcome:
        end = await self.work[request.key].wait()
        if end.code != 0:
            return Outcome(error=Failure("exit", "no sound", exit_code=end.code, signal=end.signal))
        (request.artifacts_dir / "milk.txt").write_text("milk")
        return Outcome(result={"sound": request.params.sound})

    async def stop(self, request: Request, handle: Handle, grace_s: float) -> None:
        await self.work[request.key].terminate(grace_s)
