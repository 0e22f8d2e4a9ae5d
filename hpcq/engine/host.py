"""Where a runner's code runs: on the server's loop, or, for third parties, on a loop and thread of its own."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from hpcq.plugin import Infra

T = TypeVar("T")


class Overrun(Infra):
    """A call into a runner took longer than its limit."""


class RunnerFault(Exception):
    """A runner raised what may not reach the server's loop: SystemExit, or a CancelledError of its own."""


class Host(Protocol):
    """Runs a runner's code, with a limit."""

    async def call(self, make: Callable[[], Awaitable[T]], limit_s: float | None, what: str) -> T: ...
    async def close(self) -> None: ...


class LoopHost:
    """For our own runners: the server's loop."""

    async def call(self, make: Callable[[], Awaitable[T]], limit_s: float | None, what: str) -> T:
        try:
            if limit_s is None:
                return await make()
            async with asyncio.timeout(limit_s) as limit:
                return await make()
        except TimeoutError:
            if limit_s is not None and limit.expired():
                raise Overrun(f"{what} took longer than {limit_s:g} s") from None
            raise
        except asyncio.CancelledError:
            raise _whose() from None
        except SystemExit as error:
            raise RunnerFault(f"raised SystemExit: {error}") from None

    async def close(self) -> None:
        """Nothing to close."""


class ThreadHost:
    """For third parties: blocking, hanging, exceptions and SystemExit stay on a daemon thread."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"runner-{name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def call(self, make: Callable[[], Awaitable[T]], limit_s: float | None, what: str) -> T:
        future = asyncio.run_coroutine_threadsafe(_contained(make), self._loop)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), limit_s)
        except TimeoutError:
            if future.cancelled() or not future.done():
                raise Overrun(f"{what} took longer than {limit_s:g} s") from None
            raise
        except asyncio.CancelledError:
            raise _whose() from None

    async def close(self) -> None:
        """A thread that hangs is left behind: it is a daemon, and dies with the server."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        loop = asyncio.get_running_loop()
        joined: asyncio.Future[None] = loop.create_future()

        def join() -> None:  # on a daemon thread: the default executor would wait for it at exit
            self._thread.join(1.0)
            loop.call_soon_threadsafe(joined.set_result, None)

        threading.Thread(target=join, daemon=True).start()
        await joined
        if not self._thread.is_alive():
            self._loop.close()


def _whose() -> BaseException:
    """What to raise for a CancelledError: our caller's own is passed on, one that a runner made up is its fault."""
    if (current := asyncio.current_task()) and current.cancelling():
        return asyncio.CancelledError()
    return RunnerFault("raised CancelledError without having been cancelled")


async def _contained(make: Callable[[], Awaitable[T]]) -> T:
    try:
        return await make()
    except (asyncio.CancelledError, Exception):
        raise
    except BaseException as error:  # SystemExit would stop the thread's loop
        raise RunnerFault(f"raised {type(error).__name__}: {error}") from None
