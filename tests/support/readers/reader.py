"""A third party's runner for tests: the result of a job is what stands in the uploaded files that it names."""

from typing import ClassVar

from pydantic import BaseModel

from hpcq.plugin import Handle, Outcome, Request, Runner


class Params(BaseModel):
    """`app` is any JSON; `read` are the names to ask for."""

    app_version_id: str | None = None
    app: dict[str, str] | None = None
    read: list[str] = []


class Reader(Runner):
    """Reads at once."""

    params = Params
    durable_handle: ClassVar[bool] = False

    async def start(self, request: Request) -> Handle:
        return {}

    async def wait(self, request: Request, handle: Handle) -> Outcome:
        return Outcome(result={name: request.blob(name).read_text() for name in request.params.read})

    async def stop(self, request: Request, handle: Handle, grace_s: float) -> None:
        """There is nothing to stop."""
