"""Follow jobs to their ends through the stream of events, over restarts of the server."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcq.client import Client, Filter, Job

FINAL = frozenset({"succeeded", "failed", "cancelled"})
FIRST_CHECK_S = 1.0  # jobs that an idempotency key has found were perhaps over before the stream began
CHECK_S = 20.0  # the states are read afresh so often, whatever the stream says
FEW = 50  # so many jobs are asked for one by one; more by their tag


@dataclass(frozen=True)
class Change:
    """A job's state is new."""

    job_id: str
    state: str
    at: str
    attempt: int


class Watch:
    """Knows the state of each of `ids`; tells `on_change` of every new one, in the order in which they came, and
    `on_queue` the name of a queue that is changed.

    `which` finds at least these jobs: a tag that they share. With `since`, an event's seq from before they were
    submitted, no change is missed; without it, what was before the stream stood is told as the state that it led to.
    """

    def __init__(
        self,
        client: "Client",
        ids: Collection[str],
        which: "Filter",
        on_change: Callable[[Change], None],
        *,
        on_queue: Callable[[str], None] | None = None,
        since: int | None = None,
    ) -> None:
        self._client = client
        self._which = which
        self._since = since
        self._on_change = on_change
        self._on_queue = on_queue
        self.states = dict.fromkeys(ids, "")
        self._newest = dict.fromkeys(ids, "")  # time of the last change that was told
        self._left = len(self.states)
        self._stale = asyncio.Event()  # changes may have been missed: the jobs must be read

    @property
    def counts(self) -> dict[str, int]:
        """How many are in each state."""
        found: dict[str, int] = {}
        for state in self.states.values():
            found[state or "sent"] = found.get(state or "sent", 0) + 1
        return found

    async def until_final(self) -> None:
        """Return when all jobs are final."""
        reading = asyncio.create_task(self._read_when_stale())
        listening = asyncio.create_task(self._listen())
        try:
            done, _ = await asyncio.wait({reading, listening}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (reading, listening):
                task.cancel()
            await asyncio.gather(reading, listening, return_exceptions=True)

    async def _listen(self) -> None:
        async with aclosing(self._client.events(self._since, on_open=self._opened)) as events:
            async for event in events:
                job_id, state = event.get("job") or "", event.get("state")
                if job_id in self.states and state and event.get("type") != "job.progress":
                    self._tell(Change(job_id, state, event["at"], event.get("attempt") or 0))
                elif event.get("type") == "queue.changed" and self._on_queue is not None:
                    self._on_queue(event["queue"])
                if not self._left:
                    return

    def _opened(self, gap: bool) -> None:
        if gap or self._since is None:
            self._stale.set()

    async def _read_when_stale(self) -> None:
        pause_s = FIRST_CHECK_S
        while self._left:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stale.wait()
            self._stale.clear()
            pause_s = CHECK_S
            for job in await self._unfinished():
                self._tell(Change(job["id"], job["state"], job["updated_at"], job["attempt"]))

    async def _unfinished(self) -> "list[Job]":
        """The present state of the jobs of which we know no end."""
        open_ids = [job_id for job_id, state in self.states.items() if state not in FINAL]
        if len(open_ids) <= FEW:
            return [await self._client.job(job_id) for job_id in open_ids]
        return [job async for job in self._client.jobs(self._which, oldest_first=True)]

    def _tell(self, change: Change) -> None:
        known = self.states.get(change.job_id)
        if known is None or known in FINAL or known == change.state or change.at < self._newest[change.job_id]:
            return
        self.states[change.job_id] = change.state
        self._newest[change.job_id] = change.at
        if change.state in FINAL:
            self._left -= 1
        self._on_change(change)
