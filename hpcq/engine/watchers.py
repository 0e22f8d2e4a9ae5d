"""Those who wait for jobs to become final (`?wait=`)."""

import asyncio
from collections.abc import Collection, Sequence

from hpcq.core.job import FINAL
from hpcq.store.reader import Reader
from hpcq.store.rows import EventRow


class Watchers:
    """Wakes whoever waits for a job when its last event is on disk."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    def tell(self, events: Sequence[EventRow]) -> None:
        """These events are on disk."""
        if not self._waiting:
            return
        for event in events:
            if event.state in FINAL and event.job_id in self._waiting:
                for waiter in self._waiting.pop(event.job_id):
                    if not waiter.done():
                        waiter.set_result(None)

    async def wait_final(self, job_ids: Collection[str], timeout_s: float) -> bool:
        """Wait until all are final, at most so long; whether they are. Unknown ids count as final."""
        waits = {job_id: self._watch(job_id) for job_id in job_ids}
        try:
            unfinished = await self._reader.unfinished(list(waits))  # some may have ended before we watched
            for job_id, waiter in waits.items():
                if job_id not in unfinished and not waiter.done():
                    waiter.set_result(None)
            if waits:
                await asyncio.wait(waits.values(), timeout=timeout_s)
            return all(waiter.done() for waiter in waits.values())
        finally:
            for job_id, waiter in waits.items():
                self._forget(job_id, waiter)

    def _watch(self, job_id: str) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job_id, set()).add(waiter)
        return waiter

    def _forget(self, job_id: str, waiter: asyncio.Future[None]) -> None:
        watching = self._waiting.get(job_id)
        if watching is not None:
            watching.discard(waiter)
            if not watching:
                del self._waiting[job_id]
