"""Keywords about queues."""

from datetime import timedelta
from typing import Any

from robot.api.deco import keyword

from .jobs import A_MINUTE
from .polling import until
from .session import Session


class Queues(Session):
    """Pause, resume, scale."""

    @keyword
    async def pause_queue(self, queue: str) -> None:
        """Start no more jobs of this queue; running ones finish."""
        await self.client.change_queue(queue, paused=True)

    @keyword
    async def resume_queue(self, queue: str) -> None:
        """Start jobs of this queue again."""
        await self.client.change_queue(queue, paused=False)

    @keyword
    async def scale_queue(self, queue: str, slots: int | None) -> None:
        """Give the queue so many slots; ``None`` is what the configuration says."""
        await self.client.change_queue(queue, slots=slots)

    @keyword
    async def queue_should_have(
        self, queue: str, state: str, count: int, *, at_least: bool = False, timeout: timedelta = A_MINUTE
    ) -> dict[str, Any]:
        """So many of the queue's jobs come to be in this state, or ``at_least`` so many; returns the queue."""

        async def look() -> dict[str, Any]:
            return await self.client.queue(queue)

        return await until(
            look,
            lambda found: (here := found["counts"].get(state, 0)) == count or (at_least and here > count),
            timeout_s=timeout.total_seconds(),
            what=f"{count} jobs of {queue} are {state}",
        )

    @keyword
    async def queue_should_have_slots(self, queue: str, count: int, timeout: timedelta = A_MINUTE) -> dict[str, Any]:
        """The queue comes to have so many slots; returns the queue."""

        async def look() -> dict[str, Any]:
            return await self.client.queue(queue)

        return await until(
            look,
            lambda found: found["slots"] == count,
            timeout_s=timeout.total_seconds(),
            what=f"{queue} has {count} slots",
        )
