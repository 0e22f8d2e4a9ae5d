"""The device's activity manager: `am`, and what it says of what runs."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.support.fake_device.uiautomator2 import INSTRUMENTATION, PACKAGE, UiAutomator2
from tests.support.fake_device.wire import Stream

Print = Callable[[bytes], Awaitable[None]]


class Activity:
    """Apps that were started, and the instrumentation."""

    def __init__(self, uiautomator2: UiAutomator2) -> None:
        self.uiautomator2 = uiautomator2
        self._started: set[str] = set()
        self._stopped: asyncio.Event | None = None  # the instrumentation, once it is told to

    async def serve(self, stream: Stream) -> None:
        """The port of the UiAutomator2 server; nobody listens there unless it is instrumented."""
        if self._stopped is not None:
            await self.uiautomator2.serve(stream)

    async def am(self, words: list[str], out: Print) -> int:
        match words[1]:
            case "start" | "start-activity":
                package = words[words.index("-n") + 1].partition("/")[0]
                self._started.add(package)
                await out(f"Starting: Intent {{ cmp={package} }}\nStatus: ok\nComplete\n".encode())
            case "force-stop":
                self._started.discard(words[-1])
                if words[-1] == PACKAGE and self._stopped is not None:
                    self._stopped.set()
            case "instrument" if words[-1] == INSTRUMENTATION:
                await self._instrument(out)
        return 0

    async def _instrument(self, out: Print) -> None:
        """Until it is stopped, or the host hangs up."""
        self._stopped = stopped = asyncio.Event()
        await out(b"INSTRUMENTATION_STATUS_CODE: 1\n")
        try:
            await stopped.wait()
        finally:
            self._stopped = None
            self.uiautomator2.end()

    async def services(self, words: list[str], out: Print) -> int:
        """`dumpsys activity services PACKAGE`."""
        if words[-1] in self._started:
            await out(f"  * ServiceRecord{{1 u0 {words[-1]}/.Service}}\n    isForeground=true\n".encode())
        return 0
