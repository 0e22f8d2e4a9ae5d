"""The only place that looks at a clock, and the bell that wakes the core."""

import asyncio
import time
from collections.abc import Callable

from hpcq.core.job import Moment


def now() -> Moment:
    """The time on both clocks."""
    return Moment(time.time(), time.monotonic())


class Alarm:
    """Calls `ring` once when the nearer of two times has come; setting it again replaces it."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    def set(self, wall: float | None, mono: float | None) -> None:
        """Ring at a wall or a monotonic time, whichever comes first; a wall time is looked at again every minute,
        because somebody may set that clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        moment = now()
        waits = [at - there for at, there in ((wall, moment.wall), (mono, moment.mono)) if at is not None]
        if waits:
            delay = min(max(min(waits), 0.0), 60.0)
            self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def stop(self) -> None:
        """Never ring again."""
        self.set(None, None)
