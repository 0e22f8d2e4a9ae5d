"""The jobs of one `hpcq run`: how they are found again and left, and what is known of them without a server."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, cast

from hpcq.cli.calls import GONE
from hpcq.cli.output import clean, many, say, title
from hpcq.cli.specs import Spec
from hpcq.cli.submit import left_running
from hpcq.cli.watch import FINAL

if TYPE_CHECKING:
    from hpcq.client import Client, Filter, Job

FEW = 50  # of so many jobs the slot is asked for
SENDING_S = 20.0  # for the server to take the jobs, when we stop while it does; an answer says which they are
CANCEL_S = 5.0  # to tell the server that the jobs are to end, and again for their ends
HURRY_S = 3.0  # once we leave, a server that is away is tried for so long
READ_S, READ_EACH_S = 5.0, 0.005  # and the jobs are read for so long, and longer for each of them


class Sent:
    """The jobs that `specs` have become. `tag` finds them again; None for a single one."""

    def __init__(self, client: "Client", specs: Sequence[Spec], tag: tuple[str, str] | None) -> None:
        self._client = client
        self._specs = specs
        self._tag = tag
        self.ids: list[str] = []
        self.fresh = False  # what `last` returned is the server's word
        self.missing: set[str] = set()  # ids that the server knows no more
        self.states: dict[str, str] = {}  # as far as we were told
        self._seen: dict[str, Job] = {}
        self._sending: asyncio.Future[list[str]] | None = None

    @property
    def which(self) -> "Filter":
        """Finds at least these jobs."""
        from hpcq.client import Filter

        return Filter(tags=dict([self._tag] if self._tag else []))

    @property
    def named(self) -> str:
        """What to say to `hpcq wait` and `hpcq cancel`."""
        return f"--tag {'='.join(self._tag)}" if self._tag else " ".join(self.ids)

    @property
    def begun(self) -> bool:
        """Whether the server may have any of them."""
        return self._sending is not None

    async def send(self, sending: Coroutine[Any, Any, list[str]]) -> None:
        """It goes on when we are stopped: what the server takes must be known, to be cancelled."""
        self._sending = asyncio.ensure_future(sending)
        self.ids = await asyncio.shield(self._sending)

    def remember(self, job: "Job") -> None:
        """As the server has told of it."""
        self._seen[job["id"]] = job

    async def jobs(self) -> "list[Job]":
        """All of them as they are now, in the order in which they were sent; those that are `missing` as last known."""
        found: dict[str, Job] = {}
        if self._tag is not None:
            ours = set(self.ids)
            found = {job["id"]: job async for job in self._client.jobs(self.which) if job["id"] in ours}
        for job_id in self.ids:
            if job_id not in found and (job := await self._one(job_id)):  # somebody may have taken its tag away
                found[job_id] = job
        if len(found) <= FEW:
            for job in found.values():
                await self._add_slot(job)
        self.missing = set(self.ids) - found.keys()
        self._seen |= found
        return [found.get(job_id) or self._remembered(place, job_id) for place, job_id in enumerate(self.ids)]

    async def _one(self, job_id: str) -> "Job | None":
        """None: it is pruned."""
        from hpcq.client import Problem

        try:
            return await self._client.job(job_id)
        except Problem as problem:
            if problem.status not in GONE:
                raise
        return None

    async def _add_slot(self, job: "Job") -> None:
        """A job that is final holds no slot; its last attempt did."""
        if job["attempt"] and not job.get("slot"):
            job["slot"] = (await self._client.attempts(job["id"]))[-1]["slot"]

    async def last(self, *, hurry: bool) -> "list[Job]":
        """As they are now or, from a server that does not answer, as they were when we last heard of them."""
        from hpcq.client import ClientError

        if not self.ids:
            return []
        try:
            async with asyncio.timeout(READ_S + READ_EACH_S * len(self.ids) if hurry else None):
                jobs = await self.jobs()
            self.fresh = True
            if self.missing:
                say(f"hpcq: the server has {many(len(self.missing), 'job')} no more: reported is what was last known")
            return jobs
        except (ClientError, TimeoutError) as error:
            say(f"hpcq: reported is what was last known of {many(len(self.ids), 'job')}: {cause(error)}")
            return [self._remembered(place, job_id) for place, job_id in enumerate(self.ids)]

    def _remembered(self, place: int, job_id: str) -> "Job":
        spec = self._specs[place] if len(self._specs) == len(self.ids) else self._specs[0]
        unknown = {"id": job_id, "number": None, "name": title(spec), "queue": spec.get("queue"), "attempt": 0}
        seen = {**unknown, "state": "sent", "tags": spec.get("tags") or {}, **self._seen.get(job_id, {})}
        return cast("Job", {**seen, "state": self.states.get(job_id) or seen["state"]})

    # The end, before theirs.

    async def leave(self, *, cancels: bool) -> None:
        """We stop before the jobs do: cancel them and wait a little for their ends, or say how to go on."""
        self._client.hurry(HURRY_S)
        await self._hear_of_sending()
        if not self.ids:
            if self.begun:
                say(f"hpcq: whether the server has the jobs is not known: `hpcq list {self._by_tag}`")
            return
        if not cancels:
            say(f"hpcq: {left_running(self.ids, self._tag and '='.join(self._tag), self.left)}")
            return
        say("hpcq: cancelling")
        if await self.cancel():
            await self._ends()

    @property
    def _by_tag(self) -> str:
        return self.named if self._tag else "-n 5"

    @property
    def left(self) -> int:
        """How many are not final, as far as we were told."""
        return sum(self.states.get(job_id) not in FINAL for job_id in self.ids)

    async def _hear_of_sending(self) -> None:
        from hpcq.client import ClientError

        if self._sending is None or self.ids:
            return
        try:
            async with asyncio.timeout(HURRY_S if self._client.silent else SENDING_S):
                self.ids = await asyncio.shield(self._sending)
        except (ClientError, TimeoutError):
            self._sending.cancel()

    async def cancel(self) -> bool:
        """End them; False, and said so, when that did not reach the server."""
        from hpcq.client import ClientError

        try:
            async with asyncio.timeout(CANCEL_S):
                await self._cancel()
        except (ClientError, TimeoutError) as error:
            say(f"hpcq: could not cancel: {cause(error)}; the jobs may go on; end: hpcq cancel {self.named}")
            return False
        return True

    async def _cancel(self) -> None:
        from hpcq.client import Problem

        if self._tag is not None:
            await self._client.act("cancel", self.which)
            return
        for job_id in self.ids:
            try:
                await self._client.cancel(job_id)
            except Problem as problem:
                if problem.status != 409:  # it has just ended
                    raise

    async def _ends(self) -> None:
        from hpcq.client import ClientError

        try:
            if self._tag is None:
                await self._client.wait(self.ids, CANCEL_S)
            else:
                await self._client.wait_all(self.which, CANCEL_S)
        except TimeoutError:
            say(f"hpcq: not all have ended after {CANCEL_S:g} s; the server goes on ending them")
        except ClientError as error:
            say(f"hpcq: whether they have ended is not known: {cause(error)}")

    def lost(self, error: Exception) -> None:
        """The server has not answered for too long: say how to go on."""
        say(f"hpcq: {cause(error)}")
        if self.ids:
            say(f"hpcq: the jobs may go on; once it answers: hpcq wait {self.named}; see: hpcq list {self._by_tag}")
        elif self.begun:
            say(f"hpcq: whether it has the jobs is not known; once it answers: hpcq list {self._by_tag}")


def cause(error: Exception) -> str:
    """Why something could not be had of the server, or written."""
    from hpcq.client import Problem

    if isinstance(error, TimeoutError) and not str(error):
        return "the server does not answer in time"
    if isinstance(error, Problem):
        return clean(error.detail or error.title)
    if isinstance(error, OSError) and error.strerror:
        return clean(f"{error.strerror}: {error.filename}" if error.filename else error.strerror)
    return clean(error)
