"""The adb server of a queue: started if nobody else has, followed, and started again when it has gone.

It belongs to the whole machine: never is it restarted for one device's or one job's sake.
"""

import asyncio
import contextlib
from collections.abc import Callable

from hpcq.plugin import Context, Infra, Process
from hpcq_runners.adb.client import Adb, AdbFailed

ENV = "/usr/bin/env"
START_S = 8.0
PAUSE_S = 0.1  # between two looks at a server that is starting
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.5, 15.0
States = dict[str, str]


class AdbServer:
    """`states` holds what the server says of each serial; `down` why it does not, if so."""

    def __init__(self, adb: Adb, context: Context, changed: Callable[[], None]) -> None:
        self.states: States = {}
        self.up = asyncio.Event()
        self.down = "the adb server has not been asked yet"
        self._adb = adb
        self._context = context
        self._changed = changed
        self._own: Process | None = None
        self._following: asyncio.Task[None] | None = None
        self._first = asyncio.Event()

    async def open(self) -> None:
        """Begin to follow it; returns when it has said what is there, or cannot be had."""
        self._follow_anew()
        await self._first.wait()

    async def check(self) -> None:
        """Notice a server that is there, and says nothing more. (A connection to it would wait for ever.)"""
        following = self._following
        if self.down or following is None:
            return
        try:
            await self._adb.ask("host:version")
        except AdbFailed as error:
            if self.down or following is not self._following:
                return  # noticed meanwhile; it may just be starting another one, in which nobody must disturb it
            self._say(str(error), {})
            following.cancel()
            self._follow_anew()

    def _follow_anew(self) -> None:
        work = self._follow_always(self._following)
        self._following = asyncio.create_task(work, name=f"adb server {self._adb.port}")

    async def close(self) -> None:
        """Follow it no more; end it, if it is ours."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await self._end_own()

    async def _end_own(self) -> None:
        own, self._own = self._own, None
        if own is not None:
            with contextlib.suppress(Infra):
                await own.terminate(2.0)

    async def _follow_always(self, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait({before})
        backoff_s = FIRST_BACKOFF_S
        while True:
            try:
                await self._begin()
                async for states in self._adb.follow():
                    backoff_s = FIRST_BACKOFF_S
                    self._say("", states)
                    self._first.set()
            except (OSError, EOFError, ValueError, Infra) as error:
                self._say(f"the adb server on port {self._adb.port} is gone: {error}", {})
                self._context.log.warning("queue %s: %s", self._context.queue, self.down)
            self._first.set()
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)

    def _say(self, down: str, states: States) -> None:
        if (down, states) != (self.down, self.states):
            self.down, self.states = down, states
            if down:
                self.up.clear()
            else:
                self.up.set()
            self._changed()

    async def _begin(self) -> None:
        """There is a server that answers. Raises AdbFailed."""
        try:
            await self._adb.ask("host:version")
            return
        except AdbFailed as error:
            await self._end_own()  # one that hangs: it serves nobody
            if await self._listens():
                raise AdbFailed(f"{error}; `adb -P {self._adb.port} kill-server` mends it, for all devices") from None
        argv = [ENV, "-u", "ANDROID_SERIAL", "ADB_MDNS=0", *self._adb.argv("server", "nodaemon")]
        self._own = await self._context.spawn(argv, output=self._context.data_dir / "adb-server.log")
        async with asyncio.timeout(START_S):
            while not await self._answers():  # noqa: ASYNC110  (another process decides)
                await asyncio.sleep(PAUSE_S)

    async def _answers(self) -> bool:
        with contextlib.suppress(AdbFailed):
            await self._adb.ask("host:version")
            return True
        return False

    async def _listens(self) -> bool:
        """Somebody has the port."""
        try:
            async with asyncio.timeout(1.0):
                _, writer = await asyncio.open_connection("127.0.0.1", self._adb.port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True
