"""The matrix runner: numpy work in one warm process a slot."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import orjson

from hpcq.plugin import Context, Failure, Handle, Health, Outcome, Request, Runner, SlotView
from hpcq_runners.fields import Blob
from hpcq_runners.matrix import forkserver
from hpcq_runners.matrix.params import (
    Artifact,
    KernelJob,
    MatrixJob,
    MatrixParams,
    MatrixSettings,
    ScalarJob,
    references,
)
from hpcq_runners.matrix.pool import Entry, SlotPool

LARGEST_MESSAGE = 16 * 1024  # what is longer goes through a file: a full pipe must never hold up the executor

Params = MatrixJob | ScalarJob | KernelJob


class MatrixRunner(Runner):
    """Runs built-in operations and the operator's own functions; arrays stay in files, see `params.py`."""

    API_VERSION: ClassVar[str] = "1.0"
    params: ClassVar[Any] = MatrixParams
    settings = MatrixSettings
    ahead: ClassVar[int] = 16
    durable_handle: ClassVar[bool] = False
    default_resources: ClassVar[Mapping[str, float]] = {"cpus": 1}

    def __init__(self) -> None:
        self._pools: dict[str, SlotPool] = {}
        self._entries: dict[str, tuple[SlotPool, Entry]] = {}
        self._context: Context

    @classmethod
    def early(cls, settings: Any) -> None:  # noqa: ARG003
        """Start the forkserver while there are neither sockets nor threads to inherit."""
        forkserver.start()

    async def open(self, context: Context) -> None:
        self._context = context
        forkserver.start()

    async def health(self) -> Health:
        """Not ready while no worker can be started; each poll tries again."""
        for pool in list(self._pools.values()):
            if pool.trouble:
                await pool.ensure()
            if pool.trouble:
                return Health(False, pool.trouble)
        return Health(True)

    def depends_on(self, params: Any) -> tuple[str, ...]:
        named = references(params).values()
        return tuple(dict.fromkeys(array.job for array in named if isinstance(array, Artifact)))

    async def start(self, request: Request) -> Handle:
        return (await self.start_many([request]))[0]

    async def start_many(self, requests: Sequence[Request]) -> list[Handle]:
        """One message to the worker for all small ones. The handle is empty: nothing outlives the server.

        A job that this queue does not allow is refused by its outcome, so that the others are none the wiser.
        """
        for request in requests:
            pool = self._pool(request.slot.name)
            refusal = self._refusal(request.params)
            entry = _ended("rejected", refusal) if refusal else await self._add(pool, request)
            self._entries[request.key] = pool, entry
        for name in {request.slot.name for request in requests}:
            self._pool(name).pump()
        return [{} for _ in requests]

    async def wait(self, request: Request, handle: Handle) -> Outcome:  # noqa: ARG002
        entry = self._entries[request.key][1]
        outcome = await asyncio.shield(entry.done)
        self._entries.pop(request.key, None)
        return outcome

    async def stop(self, request: Request, handle: Handle, grace_s: float) -> None:  # noqa: ARG002
        """A job not begun is dropped; a begun one dies with its worker at once: a calculation cannot be asked."""
        found = self._entries.get(request.key)
        if found is not None:
            await found[0].stop(found[1])

    async def recall(self, request: Request, handle: Handle) -> bool:  # noqa: ARG002
        found = self._entries.get(request.key)
        if found is None or not found[0].take_back(found[1]):
            return False
        del self._entries[request.key]
        return True

    async def alive(self, request: Request, handle: Handle) -> bool:  # noqa: ARG002
        found = self._entries.get(request.key)
        return found is not None and (found[1].done.done() or found[0].alive())

    async def release(self, slot: SlotView) -> None:
        pool = self._pools.pop(slot.name, None)
        if pool is not None:
            await pool.close()

    async def close(self) -> None:
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))
        self._pools.clear()
        self._entries.clear()

    # From a request to a message.

    def _pool(self, slot: str) -> SlotPool:
        if slot not in self._pools:
            self._pools[slot] = SlotPool(slot, self._context.log)
        return self._pools[slot]

    def _refusal(self, params: Params) -> str:
        """Why this queue does not allow the job; empty when it does."""
        settings: MatrixSettings = self._context.settings
        if isinstance(params, MatrixJob) and params.size is not None and params.size > settings.max_size:
            return f"size {params.size} is over this queue's `max_size` of {settings.max_size}"
        if isinstance(params, MatrixJob) and params.size and params.max_size and params.size > params.max_size:
            return f"size {params.size} is over the job's own `max_size` of {params.max_size}"
        module = params.operation.partition(":")[0]
        if isinstance(params, KernelJob) and module not in settings.modules:
            named = ", ".join(settings.modules) or "none"
            return f"module {module!r} is not among this queue's `modules` ({named}), which are set in the config"
        return ""

    async def _add(self, pool: SlotPool, request: Request) -> Entry:
        params: Params = request.params
        scalar = isinstance(params, ScalarJob)
        message = params.model_dump(mode="json")
        try:
            if not scalar:
                message.update(self._places(request))
        except FileNotFoundError as error:
            return _ended("exception", str(error))
        body = orjson.dumps(message)
        if len(body) <= LARGEST_MESSAGE:
            return pool.add(body, small=scalar)
        path = request.work_dir / "params.json"
        await asyncio.to_thread(path.write_bytes, body)
        return pool.add(str(path), small=False)

    def _places(self, request: Request) -> dict[str, Any]:
        """What an array job needs beside its params; each access makes a folder, so scalar jobs do without."""
        places = {
            "cpus": request.resources.get("cpus", 1),
            "memory_mb": request.resources.get("memory_mb"),
            "max_size": self._context.settings.max_size,
            "paths": {name: str(_path(request, it)) for name, it in references(request.params).items()},
        }
        if request.params.operation != "det":
            places.update(work_dir=str(request.work_dir), artifacts_dir=str(request.artifacts_dir))
        if isinstance(request.params, KernelJob):
            places["output"] = str(request.output)
        return places


def _path(request: Request, wanted: Artifact | Blob) -> Path:
    if isinstance(wanted, Blob):
        return request.blob(wanted.blob)
    try:
        return request.artifact(wanted.job, wanted.name)
    except FileNotFoundError:
        raise FileNotFoundError(f"job {wanted.job} has no artifact {wanted.name!r}") from None


def _ended(kind: Literal["rejected", "exception"], message: str) -> Entry:
    done = asyncio.get_running_loop().create_future()
    done.set_result(Outcome(error=Failure(kind, message)))
    return Entry(b"", False, done)
