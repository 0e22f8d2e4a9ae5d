"""The consumer of the one inbox: drain, resolve, let the core decide, commit, and only then answer, publish and act."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import TYPE_CHECKING, Any

import orjson

from hpcq.core.effects import Start
from hpcq.core.events import Recalled, Ticked
from hpcq.core.job import State, Treatment
from hpcq.core.scheduler import Scheduler
from hpcq.engine import errors, queue_changes
from hpcq.engine.admission import Admission, Submission
from hpcq.engine.alarm import Alarm, now
from hpcq.engine.attempt import Attempt, Surroundings
from hpcq.engine.floor import Floor
from hpcq.engine.hub import EventHub
from hpcq.engine.inbox import Inbox
from hpcq.engine.intake import Intake, Prepared
from hpcq.engine.lane import Lane
from hpcq.engine.messages import (
    Cancel,
    ChangeQueue,
    Edit,
    Ended,
    HandleMade,
    Message,
    Noted,
    Reply,
    Request,
    Retry,
    SaveSchedule,
    Submit,
)
from hpcq.engine.numbers import Numbers
from hpcq.engine.round import Gathering
from hpcq.engine.spawned import spawn
from hpcq.engine.spec import JobPatch
from hpcq.engine.watchers import Watchers
from hpcq.store.errors import StoreBroken, StoreFull, StoreRefused
from hpcq.store.reader import Reader
from hpcq.store.rows import Committed, EventRow, QueueRow
from hpcq.store.writer import Writer

if TYPE_CHECKING:
    from hpcq.engine.blobs import Blobs
    from hpcq.engine.schedules import Schedules
    from hpcq.engine.supervision import Supervision
    from hpcq.engine.views import Views

log = logging.getLogger("hpcq.engine")
PROBE_S = 1.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What the engine is made of."""

    lanes: Mapping[str, Lane]
    new_core: Callable[[], Scheduler]
    around: Surroundings
    writer: Writer
    reader: Reader


class Engine:
    """Everything between the API and the parts that decide, keep and run."""

    supervision: "Supervision"  # set by the composition root, as is what follows
    views: "Views"
    schedules: "Schedules"
    blobs: "Blobs"

    def __init__(
        self,
        parts: Parts,
        numbers: Numbers,
        waiting_limit: int,
        reload: Callable[["Engine"], Awaitable[None]],
    ) -> None:
        lanes = self.lanes = parts.lanes
        self.new_core = parts.new_core
        self.core = parts.new_core()
        self.around = parts.around
        self.writer = parts.writer
        self.reader = parts.reader
        self._reload = reload
        self.hub = EventHub()
        self.watchers = Watchers(parts.reader)
        self.intake = Intake(lanes, lambda: now().wall)
        self.floor = Floor(lanes, parts.around, parts.writer, parts.reader, self.post)
        self.floor.on_progress = self._progressed
        self.live_settings: dict[str, QueueRow] = {}
        self.fatal: asyncio.Future[int] = asyncio.get_running_loop().create_future()  # the exit status
        self.used: set[str] = set()  # queues that are in the configuration, or were ever used
        self.full = False  # the disk is
        self.draining = False
        self._admission = Admission(self.intake, lanes, self._refusals, numbers, waiting_limit)
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox()
        self._round_done = asyncio.Event()
        self._alarm = Alarm(lambda: self.post(Ticked()))
        self._consumer: asyncio.Task[None] | None = None

    def _refusals(self, treatment: Treatment) -> list[tuple[str, str]]:
        return self.core.refusals(treatment)  # of the core there is now: it may be replaced

    # The inbox.

    def post(self, message: Message) -> None:
        """Put a message into the inbox; from the loop's own thread."""
        self._inbox.put(message)

    async def _ask(self, make: Any) -> Any:
        if self.full:
            raise errors.OutOfSpace("the disk is full; nothing was kept. Free space in the data folder, then try again")
        reply: Reply = asyncio.get_running_loop().create_future()
        self.post(make(reply))
        return await reply

    def start(self) -> None:
        """Begin to consume the inbox."""
        self._consumer = spawn(self._consume(), "engine")
        self.post(Ticked())

    async def stop(self) -> None:
        """Consume nothing more."""
        self._alarm.stop()
        if self._consumer:
            self._consumer.cancel()
            await asyncio.gather(self._consumer, return_exceptions=True)
        self.hub.close()

    async def _consume(self) -> None:
        try:
            while True:
                await self._round(await self._inbox.take())
        except StoreBroken as broken:
            self._die(broken)
        except Exception as error:
            log.exception("the engine failed; this is a bug")
            self._die(error)

    def _die(self, error: Exception) -> None:
        """What was being committed is unknown: stop, say so, recover at the next start."""
        log.critical("stopping: %s; the next start recovers what was committed", error)
        if not self.fatal.done():
            self.fatal.set_result(74)

    async def round_done(self) -> None:
        """Wait for the end of the next round."""
        await self._round_done.wait()

    # One round.

    async def _round(self, messages: Sequence[Message]) -> None:
        gathering = Gathering(now())
        await self._admission.open_round(messages, self.writer.resolve, gathering.now.wall)
        replies: list[tuple[Reply, Any]] = []
        for message in messages:
            await self._take(message, gathering, replies)
        gathering.add(self.core.handle(Ticked(), gathering.now))  # what is due, and what has expired on arrival
        gathering.add(self.core.assign(gathering.now))
        try:
            committed = await self._commit(gathering)
        except StoreFull as full:
            await self._forget(gathering)  # it may be long until there is space
            await self._out_of_space(full, messages)
            return
        except StoreRefused as refused:
            await self._isolate(refused, messages)
            return
        except StoreBroken:
            _refuse_all(messages, errors.OutcomeUnknown("the disk failed while writing; the request may be kept"))
            raise
        self.core.committed()
        for message in messages:
            if isinstance(message, Ended | Recalled):
                event = message.event if isinstance(message, Ended) else message
                self.floor.ended(event.job, event.attempt)
        self._publish(committed.events)
        for reply, answer in replies:
            if not reply.done():
                reply.set_result(_with_row(answer, committed))
        for effect in gathering.acting:
            self.floor.act(effect, committed.started.get(effect.job) if isinstance(effect, Start) else None)
        self._alarm.set(*self.core.wakes())
        self._round_done.set()
        self._round_done.clear()
        await self._forget(gathering)

    async def _forget(self, gathering: Gathering) -> None:
        self._admission.close_round()
        await gathering.let_go()

    async def _commit(self, gathering: Gathering) -> Committed:
        if gathering.empty:
            return Committed(events=[], started={})
        return await self.writer.commit(await gathering.finished())

    async def _take(self, message: Message, gathering: Gathering, replies: list[tuple[Reply, Any]]) -> None:
        """Let the core decide about one message."""
        at = gathering.now
        try:
            if isinstance(message, Ended):
                gathering.add(self.core.handle(message.event, at), message)
            elif isinstance(message, HandleMade):
                gathering.rest.handles.append((message.job, message.attempt, message.handle))
                replies.append((message.reply, None))
            elif isinstance(message, Submit):
                submission, events = await self._admission.submit(message, gathering, self.core.unfinished)
                for event in events:
                    gathering.add(self.core.handle(event, at))
                    await _breathe(events)
                if message.firing:
                    message.firing.into(gathering.rest, submission.ids)
                replies.append((message.reply, submission))
                self.used.update(prepared.treatment.queue for prepared in message.jobs)
            elif isinstance(message, Cancel | Retry | Edit):
                self._change(message, gathering)
                replies.append((message.reply, None))
            elif isinstance(message, ChangeQueue):
                queue_changes.apply(self, message, gathering)
                if message.reply:
                    replies.append((message.reply, None))
            elif isinstance(message, Noted):
                gathering.rest.notes.extend(message.events)
            elif isinstance(message, SaveSchedule):
                gathering.rest.schedules.append(message.row)
                gathering.rest.schedule_runs.extend([message.run] if message.run else [])
                replies.append((message.reply, None))
            else:
                gathering.add(self.core.handle(message, at))
        except errors.EngineError as error:
            reply = getattr(message, "reply", None)
            if reply is None:
                raise
            _refuse(reply, error)

    def _change(self, message: Cancel | Retry | Edit, gathering: Gathering) -> None:
        admission = self._admission
        if isinstance(message, Cancel):
            event = admission.cancel(message)
        elif isinstance(message, Retry):
            event = admission.retry(message)
        else:
            event = admission.edit(message, gathering)
        gathering.add(self.core.handle(event, gathering.now))

    def settings_of(self, lane: Lane) -> Any:
        """A lane's settings with what has been changed live."""
        row = self.live_settings.get(lane.name)
        paused = lane.config.paused if row is None or row.paused is None else row.paused
        slots = lane.config.slots if row is None or row.slots is None else row.slots
        return lane.core_settings(paused=paused, paused_reason=row.paused_reason if row else "", slots=slots)

    def _publish(self, events: Sequence[EventRow]) -> None:
        self.hub.publish(events)
        self.watchers.tell(events)

    async def _out_of_space(self, full: StoreFull, messages: Sequence[Message]) -> None:
        """Nothing of the round happened: refuse its requests, load the core afresh, replay what runners said.

        No round is tried, and requests are refused at the door, until the store takes a commit again.
        """
        log.error("the disk is full: %s; submits are refused until there is space again", full)
        self.full = True
        _refuse_all(messages, errors.OutOfSpace(f"the disk is full, nothing was kept: {full}"))
        self._inbox.put_back(message for message in messages if not isinstance(message, Request))
        while self.full:
            await asyncio.sleep(PROBE_S)
            with contextlib.suppress(StoreFull):
                await self.writer.probe()
                self.full = False
        log.warning("there is space again")
        await self._afresh()
        self._inbox.wake()

    async def _isolate(self, refused: StoreRefused, messages: Sequence[Message]) -> None:
        """The store refuses a round that breaks its rules: a bug. Find the message, and drop it alone."""
        log.error("the store refuses a round of %d messages: %s", len(messages), refused)
        await self._afresh()
        if len(messages) > 1:
            for message in messages:
                await self._round([message])
        else:
            _refuse_all(messages, RuntimeError(f"the store refuses it: {refused}"))

    async def _afresh(self) -> None:
        await self._reload(self)
        self._admission.numbers = Numbers(await self.writer.counters())
        self.post(Ticked())

    # What the API asks for. All of these return after COMMIT.

    async def submit(
        self,
        jobs: Sequence[Prepared],
        *,
        org: str | None,
        key: str | None = None,
        bulk: bool = False,
        digest: bytes | None = None,
    ) -> Submission:
        """Keep jobs, all or none; `bulk`: errors name the index; `digest`: of their origin. Raises EngineError."""
        if self.draining:
            raise errors.Unavailable("the server is shutting down", 5.0)
        answer: Submission = await self._ask(lambda reply: Submit(jobs, org, key, bulk, reply, digest=digest))
        return answer

    async def cancel(self, org: str | None, job_id: str, *, waiting_only: bool = False) -> None:
        """End a job that is not final; `waiting_only`: nor begun. Raises NotFound, Conflict."""
        await self._ask(lambda reply: Cancel(org, job_id, reply, waiting_only))

    async def retry(self, org: str | None, job_id: str) -> None:
        """Queue a final job again. Raises NotFound, Conflict."""
        await self._ask(lambda reply: Retry(org, job_id, reply))

    async def edit(self, org: str | None, job_id: str, patch: JobPatch) -> None:
        """Change a job that is not final. Raises NotFound, Conflict, BadSpec, Unavailable."""
        keyless = "batch_key" in patch.model_fields_set and patch.batch_key is None
        row = await self.reader.job(org, job_id) if keyless else None
        own_key = await self.intake.own_key(row) if row else None  # here: a foreign runner may take its time
        await self._ask(lambda reply: Edit(org, job_id, patch, reply, own_key))

    async def change_queue(self, name: str, paused: bool | None, slots: int | EllipsisType | None) -> None:
        """Pause, resume or scale a queue; kept over restarts. Raises NotFound."""
        if name not in self.lanes:
            raise errors.NotFound(f"there is no queue {name}; there are {', '.join(sorted(self.lanes))}")
        await self._ask(lambda reply: ChangeQueue(name, paused, slots, "paused by request" if paused else "", reply))

    # Progress: live only.

    def progress(self, job: int) -> dict[str, Any] | None:
        """The live progress of a running attempt."""
        attempt = self.floor.live.get(job)
        return attempt.progress if attempt else None

    def _progressed(self, attempt: Attempt, progress: dict[str, Any]) -> None:
        self._loop.call_soon_threadsafe(self._tell, attempt, progress)

    def _tell(self, attempt: Attempt, progress: dict[str, Any]) -> None:
        """Publish progress; `report` lets at most one a second through."""
        if attempt.job not in self.floor.live:
            return
        detail = orjson.dumps({"progress": progress})
        event = EventRow(
            seq=0,
            at=now().wall,
            type="job.progress",
            job_id=attempt.job_id,
            number=attempt.number,
            state=State.RUNNING,
            queue=attempt.queue,
            org_id=attempt.org_id,
            attempt=attempt.attempt,
            detail=detail,
        )
        self.hub.publish([event])


def _with_row(answer: Any, committed: Committed) -> Any:
    if isinstance(answer, Submission) and answer.job is not None:
        return replace(answer, row=committed.started.get(answer.job))
    return answer


def _refuse_all(messages: Sequence[Message], error: Exception) -> None:
    """Answer the requests among these messages; what runners say is replayed."""
    for message in messages:
        if isinstance(message, Request) and message.reply is not None:
            _refuse(message.reply, error)


def _refuse(reply: Reply, error: Exception) -> None:
    if not reply.done():
        reply.set_exception(error)


async def _breathe(events: Sequence[object]) -> None:
    """Between the slices of a large submit, let the loop serve others."""
    if len(events) > 1:
        await asyncio.sleep(0)
