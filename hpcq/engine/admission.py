"""What clients ask for, turned into the core's events: keys and ids are resolved before the core sees anything."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from hpcq.core.events import Cancelled, Edited, Event, Reopened, Submitted
from hpcq.core.job import FINAL, FRESH, Dependency, History, NewJob, Treatment
from hpcq.engine.errors import BadSpec, Conflict, FieldError, NotFound, TooMany
from hpcq.engine.ids import uuid7
from hpcq.engine.intake import Intake, Need, Prepared, policy
from hpcq.engine.lane import Lane
from hpcq.engine.messages import Cancel, Edit, Message, Retry, Submit
from hpcq.engine.round import Gathering
from hpcq.engine.spec import JobPatch, wall
from hpcq.store.rows import Counters, EditRow, JobRow, KeyRow, Lookup, NewRow, Resolved

SLICE = 1000  # jobs of a large submit, between which the loop serves others
KEY_LIFE_S = 86400.0  # for so long an idempotency key is kept
REQUEST = "request:"  # begins the stored keys that cover a whole request
Resolve = Callable[[Lookup], Awaitable[Resolved]]


@dataclass(frozen=True, slots=True)
class Submission:
    """The answer to a submit."""

    ids: list[str]
    created: bool  # False: an idempotency key was used before, and these are the first jobs
    job: int | None = None  # of a single new job
    row: JobRow | None = None  # the same, as it was committed


class Numbers:
    """The last numbers given out."""

    def __init__(self, counters: Counters) -> None:
        self.job = counters.job
        self.by_org = dict(counters.numbers)

    def next_job(self) -> int:
        self.job += 1
        return self.job

    def next_number(self, org_id: str) -> int:
        self.by_org[org_id] = number = self.by_org.get(org_id, 0) + 1
        return number


def _covers(key: str) -> bool:
    """Whether a stored key is a request's, rather than a job's own."""
    return key.startswith(REQUEST)


async def lookup(messages: Iterable[Message]) -> Lookup | None:
    """All keys and ids that a round's requests name; None when there are none."""
    keys: dict[tuple[str, str], None] = {}
    ids: dict[str, None] = {}
    for message in messages:
        if isinstance(message, Submit):
            if message.key:
                keys[_scope(message), REQUEST + message.key] = None
            for count, prepared in enumerate(message.jobs, 1):
                if count % SLICE == 0:
                    await asyncio.sleep(0)
                if prepared.key:
                    keys[prepared.treatment.org_id, prepared.key] = None
                for need in prepared.needs:
                    if need.job_id:
                        ids[need.job_id] = None
        elif isinstance(message, Cancel | Retry | Edit):
            ids[message.job_id] = None
    return Lookup(keys=tuple(keys), ids=tuple(ids)) if keys or ids else None


def _scope(message: Submit) -> str:
    return message.org or (message.jobs[0].treatment.org_id if message.jobs else "default")


class Admission:
    """Admits what clients ask for, within one round after another."""

    def __init__(
        self,
        intake: Intake,
        lanes: Mapping[str, Lane],
        refusals: Callable[[Treatment], list[tuple[str, str]]],
        numbers: Numbers,
        limit: int,
    ) -> None:
        self._intake = intake
        self._lanes = lanes
        self._refusals = refusals
        self._limit = limit
        self.numbers = numbers
        self._refused: dict[int, list[tuple[str, str]]] = {}  # by id of the treatment: they are shared objects
        self._known: Resolved = Resolved({}, {})
        self._fresh: dict[str, int] = {}  # ids submitted in this round

    async def open_round(self, messages: Iterable[Message], resolve: Resolve, at: float) -> None:
        """Ask the store for the keys and ids that the round's requests name; `at`: wall time."""
        self._known = Resolved({}, {})
        self._fresh = {}
        self._refused.clear()
        if named := await lookup(messages):
            known = await resolve(named)
            keys = {key: row for key, row in known.keys.items() if at - row.at < KEY_LIFE_S}
            self._known = Resolved(keys, known.jobs)
        before = [orjson.loads(row.ids)[0] for (_, key), row in self._known.keys.items() if not _covers(key)]
        if before:  # an array's later jobs may depend on one that was there before
            self._known.jobs.update((await resolve(Lookup(ids=tuple(before)))).jobs)

    # Submits.

    async def submit(self, message: Submit, gathering: Gathering, waiting: int) -> tuple[Submission, list[Submitted]]:
        """Number the jobs of one submit and gather their rows. Raises EngineError; then nothing was gathered."""
        digest = await _digest(message.jobs) if message.key else b""
        if message.key and (repeat := self._repeat(_scope(message), REQUEST + message.key, digest)):
            return repeat, []
        if waiting + len(message.jobs) > self._limit:
            raise TooMany(
                f"{waiting} jobs are unfinished, at most {self._limit} may be; wait, or raise limits.waiting_jobs"
            )
        repeats = await self._repeats(message.jobs)
        await self._refuse(message, repeats)
        return await self._number(message, gathering, repeats, digest)

    async def _repeats(self, jobs: Iterable[Prepared]) -> dict[int, str]:
        """Index -> id of the jobs whose own key was used before."""
        found: dict[int, str] = {}
        seen: set[tuple[str, str]] = set()
        for index, prepared in enumerate(jobs):
            if index % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            if prepared.key is None:
                continue
            if (prepared.treatment.org_id, prepared.key) in seen:
                text = "is used twice in this array; one key is one job"
                raise BadSpec([FieldError(f"/{index}/idempotency_key", text)])
            seen.add((prepared.treatment.org_id, prepared.key))
            if repeat := self._repeat(prepared.treatment.org_id, prepared.key, prepared.digest()):
                found[index] = repeat.ids[0]
        return found

    def _repeat(self, org_id: str, key: str, digest: bytes) -> Submission | None:
        row = self._known.keys.get((org_id, key))
        if row is None:
            return None
        if row.body_sha != digest:
            text = "was used with another body within the last 24 hours; use a fresh key for a different job"
            raise BadSpec([FieldError("/idempotency_key", text)])
        return Submission(orjson.loads(row.ids), False)

    async def _refuse(self, message: Submit, repeats: Mapping[int, str]) -> None:
        """Raise for what can never run, and for dependencies that there are not."""
        errors: list[FieldError] = []
        for index, prepared in enumerate(message.jobs):
            if index % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            treatment = prepared.treatment
            refused = self._refused.get(id(treatment))
            if refused is None:
                refused = self._refused[id(treatment)] = self._refusals(treatment)
            if not (refused or prepared.needs) or index in repeats:
                continue
            prefix = f"/{index}" if message.bulk else ""
            errors.extend(FieldError(f"{prefix}/{place}", text) for place, text in refused)
            for place, need in enumerate(prepared.needs):
                if need.job_id and self._row(treatment.org_id, need.job_id) is None and need.job_id not in self._fresh:
                    errors.append(FieldError(f"{prefix}/depends_on/{place}", f"there is no job {need.job_id}"))
        if errors:
            raise BadSpec(errors[:1000])

    async def _number(
        self, message: Submit, gathering: Gathering, repeats: Mapping[int, str], digest: bytes
    ) -> tuple[Submission, list[Submitted]]:
        ids: list[str] = []
        numbers: list[int] = []
        rows: list[NewRow] = []
        events: list[Submitted] = []
        batch: list[NewJob] = []
        at = gathering.now.wall
        for index, prepared in enumerate(message.jobs):
            if index in repeats:
                ids.append(repeats[index])
                row = self._known.jobs.get(repeats[index])
                numbers.append(row.job if row else self._fresh[repeats[index]])
                continue
            row_, new = self._new(prepared, at, numbers, ids)
            ids.append(row_.id)
            numbers.append(row_.job)
            rows.append(row_)
            batch.append(new)
            if prepared.key:
                self._keep_key(gathering, prepared.treatment.org_id, prepared.key, prepared.digest(), [row_.id])
            if len(batch) == SLICE:
                events.append(Submitted(tuple(batch)))
                batch = []
                await asyncio.sleep(0)
        if batch:
            events.append(Submitted(tuple(batch)))
        if message.key:
            self._keep_key(gathering, _scope(message), REQUEST + message.key, digest, ids)
        gathering.inserts.update((row.job, row) for row in rows)
        self._fresh.update((row.id, row.job) for row in rows)
        single = rows[0].job if len(rows) == len(ids) == 1 else None
        if single is not None:
            gathering.rest.starts.append(single)  # read back within the commit's hop
        return Submission(ids, bool(rows) or not repeats, single), events

    def _new(self, prepared: Prepared, at: float, numbers: list[int], ids: list[str]) -> tuple[NewRow, NewJob]:
        runner, treatment, name, tags, batch_key, spec, needs, run_at, expires_at, _ = prepared
        job, org_id = self.numbers.next_job(), treatment.org_id
        number = self.numbers.next_number(org_id)
        depends_on: tuple[Dependency, ...] = ()
        if needs:
            depends_on = tuple(self._dependency(need, numbers, org_id) for need in needs)
            spec = _with_ids(prepared, ids)
        row = NewRow(  # by place: a bulk makes them by the hundred thousand
            job,
            uuid7(),
            org_id,
            number,
            name,
            runner,
            treatment,
            spec,
            tags,
            depends_on,
            batch_key,
            at,
            run_at,
            expires_at,
        )
        return row, NewJob(job, treatment, FRESH, run_at, expires_at, depends_on)

    def _dependency(self, need: Need, numbers: list[int], org_id: str) -> Dependency:
        if need.index is not None:
            return Dependency(numbers[need.index], need.on)
        assert need.job_id is not None
        row = self._row(org_id, need.job_id)
        if row is None:
            return Dependency(self._fresh[need.job_id], need.on)
        return Dependency(row.job, need.on, row.state if row.state in FINAL else None)

    def _keep_key(self, gathering: Gathering, org_id: str, key: str, digest: bytes, ids: list[str]) -> None:
        row = KeyRow(org_id, key, digest, orjson.dumps(ids), gathering.now.wall)
        gathering.rest.keys.append(row)
        self._known.keys[org_id, key] = row  # for a later request of the same round

    # Single jobs.

    def _row(self, org: str | None, job_id: str) -> JobRow | None:
        row = self._known.jobs.get(job_id)
        return row if row and org in (None, row.org_id) else None

    def _found(self, org: str | None, job_id: str) -> JobRow:
        row = self._row(org, job_id)
        if row is None:
            raise NotFound(f"there is no job {job_id}")
        return row

    def cancel(self, message: Cancel) -> Event:
        row = self._found(message.org, message.job_id)
        if row.state in FINAL:
            raise Conflict(f"job {row.id} is {row.state} already; only an unfinished job can be cancelled")
        return Cancelled(row.job)

    def retry(self, message: Retry) -> Event:
        row = self._found(message.org, message.job_id)
        if row.state not in FINAL:
            raise Conflict(f"job {row.id} is {row.state}; only a final job can be retried")
        history = History(attempt=row.history.attempt, reopened=row.history.reopened + 1)
        return Reopened(NewJob(row.job, row.treatment, history))

    def edit(self, message: Edit, gathering: Gathering) -> Event:
        """The change of one job; its row is gathered too."""
        row = self._found(message.org, message.job_id)
        if row.state in FINAL:
            raise Conflict(f"job {row.id} is {row.state}; only an unfinished job can be changed")
        treatment = self._edited(row, message.patch)
        if refused := self._refusals(treatment):
            raise BadSpec([FieldError(f"/{place}", text) for place, text in refused])
        given = message.patch.model_fields_set
        spec: dict[str, Any] = orjson.loads(row.spec)
        if "tags" in given:
            spec["tags"] = message.patch.tags
        edit = EditRow(
            job=row.job,
            treatment=treatment,
            spec=orjson.dumps(spec),
            tags=tuple(spec.get("tags", {}).items()),
            run_at=wall(message.patch.run_at) if "run_at" in given else row.run_at,
            expires_at=wall(message.patch.expires_at) if "expires_at" in given else row.expires_at,
            name=message.patch.name if "name" in given else row.name,
        )
        gathering.rest.edits.append(edit)
        return Edited(row.job, treatment, edit.run_at, edit.expires_at)

    def _edited(self, row: JobRow, patch: JobPatch) -> Treatment:
        lane = self._lanes.get(row.treatment.queue)
        given = patch.model_fields_set
        changes: dict[str, Any] = {}
        if "priority" in given:
            changes["priority"] = patch.priority
        if "timeout_s" in given:
            changes["timeout_s"] = patch.timeout_s if patch.timeout_s is not None or lane is None else lane.timeout_s
        if "retries" in given:
            default = lane.retries if lane else row.treatment.retries
            changes["retries"] = policy(patch.retries) if patch.retries else default
        if "resources" in given:
            changes["resources"] = tuple(sorted(patch.resources.items()))
        if "requires" in given:
            changes["requires"] = tuple(sorted(patch.requires.items()))
        if "batch_key" in given:
            changes["session_key"] = patch.batch_key
        return self._intake.shared(replace(row.treatment, **changes))


def _with_ids(prepared: Prepared, ids: list[str]) -> bytes:
    """The spec to keep: an earlier job of the same array is named by the id that it has got."""
    if all(need.index is None for need in prepared.needs):
        return prepared.spec
    kept = orjson.loads(prepared.spec)
    kept["depends_on"] = [
        {"job": need.job_id if need.index is None else ids[need.index], "on": need.on.value} for need in prepared.needs
    ]
    return orjson.dumps(kept)


async def _digest(jobs: Iterable[Prepared]) -> bytes:
    total = hashlib.sha256()
    for count, prepared in enumerate(jobs, 1):
        if count % SLICE == 0:
            await asyncio.sleep(0)
        total.update(prepared.digest())
    return total.digest()
