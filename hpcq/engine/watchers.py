"""Those who wait for jobs to become final (`?wait=`)."""

import asyncio
from collections.abc import Collection, Iterable, Sequence

from hpcq.core.job import FINAL
from hpcq.store.reader import Reader
from hpcq.store.rows import EventRow


class _Wait:
    """One who waits, for any number of jobs."""

    def __init__(self, job_ids: Collection[str]) -> None:
        self.left = set(job_ids)
        self.over = asyncio.Event()

    def ended(self, job_ids: Iterable[str]) -> None:
        self.left.difference_update(job_ids)
        if not self.left:
            self.over.set()


class Watchers:
    """Wakes whoever waits for a job when its last event is on disk."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._waiting: dict[str, set[_Wait]] = {}

    def tell(self, events: Sequence[EventRow]) -> None:
        """These events are on disk."""
        if not self._waiting:
            return
        for event in events:
            if event.state in FINAL and event.job_id in self._waiting:
                for wait in self._waiting.pop(event.job_id):
                    wait.ended((event.job_id,))

    async def wait_final(self, job_ids: Collection[str], timeout_s: float, *, look: bool = True) -> bool:
        """Wait until all are final, at most so long, looking included; whether they are. Unknown ids count as final.

        `look` False: none of them is final yet, by an answer of the engine that was got without waiting since.
        """
        wait = _Wait(job_ids)
        for job_id in wait.left:
            self._waiting.setdefault(job_id, set()).add(wait)
        try:
            async with asyncio.timeout(timeout_s):
                if look:  # some may have ended before we watched
                    unfinished = await self._reader.unfinished(list(wait.left))
                    self._forget(wait, wait.left - unfinished)
                await wait.over.wait()
        except TimeoutError:
            return False
        finally:
            self._forget(wait, wait.left)
        return True

    def _forget(self, wait: _Wait, job_ids: Collection[str]) -> None:
        for job_id in job_ids:
            watching = self._waiting.get(job_id)
            if watching is not None:
                watching.discard(wait)
                if not watching:
                    del self._waiting[job_id]
        wait.ended(list(job_ids))
