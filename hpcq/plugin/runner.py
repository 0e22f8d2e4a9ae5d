"""The base class of every runner: what the server calls, in what order, and what it expects."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from hpcq.plugin.errors import Rejected
from hpcq.plugin.types import Context, Handle, Health, Outcome, Part, Request, SlotView


class NoParams(BaseModel):
    """No fields at all."""

    model_config = ConfigDict(extra="forbid")


class Runner:
    """Knows how to run the jobs of a queue. The server makes one for each queue and decides everything else.

    A runner never retries, queues or prioritises. Calls for different slots overlap; calls for one slot do not,
    except that `stop` overlaps `start` and `wait`, and that a runner with `ahead` gets further `start`s early.
    A failed job is an `Outcome`; `Rejected` and `Infra` may be raised from `prepare`, `start` and `wait`;
    anything else that is raised is the runner's bug, and the attempt fails with `exception`.
    """

    API_VERSION: ClassVar[str] = "1.0"
    params: ClassVar[Any] = NoParams  # type[BaseModel], or an Annotated union with a discriminator function
    settings: ClassVar[type[BaseModel]] = NoParams
    ahead: ClassVar[int] = 0  # how many equal-priority jobs a slot may hold claimed beside the running one
    durable_handle: ClassVar[bool] = True  # False: nothing outlives the server, and no handle is saved
    isolation: ClassVar[Literal["thread", "loop"]] = "thread"  # where a third party's runner runs
    default_resources: ClassVar[Mapping[str, float]] = {}  # what a job takes when it asks for nothing

    @classmethod
    def early(cls, settings: Any) -> None:
        """Called once a queue, synchronously in the main thread, before sockets and threads exist (ours only)."""

    async def open(self, context: Context) -> None:
        """Called once, first; at most 30 s. Clears what an earlier life left behind.

        When it fails or overruns, this instance is closed, and with each poll of health a new one is made and opened.
        """

    async def health(self) -> Health:
        """Polled every 30 s and after each `Infra`; at most 10 s. Never blocks, also while jobs run."""
        return Health(True)

    def session_key(self, params: Any) -> str | None:
        """Jobs of one key share a prepared session (a booted device, an installed app). Called once, at submit."""
        return None

    def depends_on(self, params: Any) -> tuple[str, ...]:
        """The ids of the jobs whose artifacts the params name; they must succeed first. Called once, at submit."""
        return ()

    async def split(self, params: Any, blob: Callable[[str], Path]) -> Sequence[Part]:
        """The jobs that one job with `"split": "file"` becomes; the server orders and submits them. At most 30 s.

        `blob` finds an uploaded file as `Request.blob` does. Raises Rejected with a sentence for what cannot be split.
        """
        raise Rejected("jobs of this queue cannot be split")

    async def prepare(self, slot: SlotView, request: Request) -> None:
        """Make the slot ready for the request's session key; called when the key changes or the session was lost.

        At most `prepare_timeout_s`, outside the job's timeout. May be cancelled: leave nothing half done that
        `release` does not clear, for `release` follows a failed prepare.
        """

    async def start(self, request: Request) -> Handle:
        """Begin the attempt and return at once (at most 60 s) what finds the work again: JSON of at most 64 KiB."""
        raise NotImplementedError

    async def start_many(self, requests: Sequence[Request]) -> list[Handle]:
        """Begin several attempts of one slot, to be run in this order."""
        return [await self.start(request) for request in requests]

    async def wait(self, request: Request, handle: Handle) -> Outcome:
        """The attempt's end; no limit. Cancelling it never stops the work; it may be called again after that."""
        raise NotImplementedError

    async def stop(self, request: Request, handle: Handle, grace_s: float) -> None:
        """End the work: kindly, and by force after `grace_s`; `wait` then returns.

        Called before `start` has returned? Never: the server waits for `start` first. Twice? Possible; the second
        call changes nothing. After the end? Possible; it does nothing.
        """
        raise NotImplementedError

    async def recall(self, request: Request, handle: Handle) -> bool:
        """Take back a job that was started `ahead`. True: it has not begun, never will, and `wait` is not called any
        more. False: it has begun or ended, and nothing changes. Only runners with `ahead` are asked."""
        return False

    async def alive(self, request: Request, handle: Handle) -> bool:
        """Whether the work still lives; asked a few times in every lease. An attempt that goes silent is stopped."""
        return True

    async def attach(self, request: Request, handle: Handle | None) -> bool:
        """After a restart: is the work still there, so that `wait` can go on? `handle` is None when the server died
        before `start` returned: look the work up by `request.key`. At most 30 s. False: the server requeues the job."""
        return False

    async def release(self, slot: SlotView) -> None:
        """End the slot's session; at most 60 s. Called before another key's `prepare`, after `idle_s` without work, on
        scale-down and before `close`; never while an attempt runs; also when there was no session left to end."""

    async def readmit(self, slot_name: str) -> None:
        """Somebody says that a slot held by the runner (a quarantined device) is fit again: try it. At most 30 s."""

    async def close(self) -> None:
        """Called once, last, also after an `open` that failed; at most 30 s. Nothing of the runner's may be left."""
