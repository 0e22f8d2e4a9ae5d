"""What clients ask for, turned into the core's events: keys and ids are resolved before the core sees anything."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from hpcq.core.events import Cancelled, Edited, Event, Reopened, Submitted
from hpcq.core.job import FINAL, FRESH, WAITING, Dependency, History, NewJob, On, State, Treatment
from hpcq.engine import inputs
from hpcq.engine.errors import BadSpec, Conflict, FieldError, NotFound, TooMany
from hpcq.engine.ids import uuid7
from hpcq.engine.intake import Intake, Need, Prepared, policy, resources_of
from hpcq.engine.lane import Lane
from hpcq.engine.messages import Cancel, Edit, Message, Retry, Submit
from hpcq.engine.numbers import Numbers
from hpcq.engine.round import Gathering
from hpcq.engine.slices import SLICE
from hpcq.engine.spec import wall
from hpcq.store.rows import EditRow, JobRow, KeyRow, Lookup, NewRow, PinRow, Resolved

KEY_LIFE_S = 86400.0  # for so long an idempotency key is kept
REQUEST = "request:"  # begins the stored keys that cover a whole request
Resolve = Callable[[Lookup], Awaitable[Resolved]]
Place = tuple[int, State | None]  # a job's integer, and how it has ended


@dataclass(frozen=True, slots=True)
class Submission:
    """The answer to a submit."""

    ids: list[str]
    created: bool  # False: an idempotency key was used before, and these are the first jobs
    job: int | None = None  # of a single new job
    row: JobRow | None = None  # the same, as it was committed


def _ends(row: KeyRow) -> tuple[str, ...]:
    """The first and the last of a key's jobs: they stand for those between, which are as old."""
    ids: list[str] = orjson.loads(row.ids)
    return (ids[0], ids[-1]) if ids else ()


async def lookup(messages: Iterable[Message], at: float) -> Lookup | None:
    """All keys, ids and uploads that a round's requests name; None when there are none. `at`: wall time."""
    keys: dict[tuple[str, str], None] = {}
    ids: dict[str, None] = {}
    uploads: dict[tuple[bool, tuple[str, str]], None] = {}
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
                if prepared.named:
                    uploads.update(dict.fromkeys(inputs.places(prepared.named, message.org, prepared.treatment.org_id)))
        elif isinstance(message, Cancel | Retry | Edit):
            ids[message.job_id] = None
    if not (keys or ids or uploads):
        return None
    blobs, apps = (tuple(place for build, place in uploads if build is wanted) for wanted in (False, True))
    retried = tuple(message.job_id for message in messages if isinstance(message, Retry))
    return Lookup(tuple(keys), tuple(ids), blobs, apps, retried, at)


def _needs_of(row: JobRow) -> list[Need]:
    """What a stored job depends on."""
    kept = orjson.loads(row.spec).get("depends_on", ())
    return [Need(On(need["on"]), need.get("job")) for need in kept]


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
        self._fresh: dict[str, NewRow] = {}  # by id: submitted in this round

    async def open_round(self, messages: Iterable[Message], resolve: Resolve, at: float) -> None:
        """Ask the store for the keys and ids that the round's requests name; `at`: wall time."""
        self._known = Resolved({}, {})
        self._fresh = {}
        self._refused.clear()
        named = await lookup(messages, at)
        if named is None:
            return
        known = await resolve(named)
        behind = {key: _ends(row) for key, row in known.keys.items() if at - row.at < KEY_LIFE_S}
        jobs = dict(known.jobs)
        # An array's later jobs may depend on one that was there before; a retried one on those it depended on.
        ids = dict.fromkeys(job_id for ends in behind.values() for job_id in ends)
        for message in messages:
            if isinstance(message, Retry) and (row := jobs.get(message.job_id)):
                ids.update(dict.fromkeys(need.job_id for need in _needs_of(row) if need.job_id))
        if ids:
            jobs.update((await resolve(Lookup(ids=tuple(ids)))).jobs)
        # Jobs may be pruned before their key is: such a key counts as unused.
        kept = {key: known.keys[key] for key, ends in behind.items() if all(job_id in jobs for job_id in ends)}
        self._known = replace(known, keys=kept, jobs=jobs)

    def close_round(self) -> None:
        """Forget what was of this round only: a hundred thousand rows must not wait for the next one."""
        self._known = Resolved({}, {})
        self._fresh = {}

    # Submits.

    async def submit(self, message: Submit, gathering: Gathering, waiting: int) -> tuple[Submission, list[Submitted]]:
        """Number the jobs of one submit and gather their rows. Raises EngineError; then nothing was gathered."""
        digest = message.digest or (await _digest(message.jobs) if message.key else b"")
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
            if not (refused or prepared.needs or prepared.named) or index in repeats:
                continue
            prefix = f"/{index}" if message.bulk else ""
            errors.extend(FieldError(f"{prefix}/{place}", text) for place, text in refused)
            for place, need in enumerate(prepared.needs):
                if need.job_id and self._named(treatment.org_id, need.job_id) is None:
                    errors.append(FieldError(f"{prefix}/depends_on/{place}", f"there is no job {need.job_id}"))
            for fault in inputs.faults(prepared.named, message.org, treatment.org_id, self._known):
                errors.append(FieldError(prefix + fault.pointer, fault.detail))
        if errors:
            raise BadSpec(errors[:1000])

    async def _number(
        self, message: Submit, gathering: Gathering, repeats: Mapping[int, str], digest: bytes
    ) -> tuple[Submission, list[Submitted]]:
        ids: list[str] = []
        places: list[Place] = []
        events: list[Submitted] = []
        batch: list[NewJob] = []
        at = gathering.now.wall
        jobs = iter(self.numbers.next_jobs(len(message.jobs) - len(repeats)))
        for index, prepared in enumerate(message.jobs):
            if index in repeats:
                place = self._named(prepared.treatment.org_id, repeats[index])
                assert place is not None, "a key whose job is gone counts as unused"
                ids.append(repeats[index])
                places.append(place)
                continue
            row, new = self._new(next(jobs), prepared, at, places, ids)
            if prepared.named:
                row = self._pinned(row, prepared, gathering)
            ids.append(row.id)
            places.append((row.job, None))
            gathering.inserts[row.job] = self._fresh[row.id] = row
            batch.append(new)
            if prepared.key:
                self._keep_key(gathering, prepared.treatment.org_id, prepared.key, prepared.digest(), [row.id])
            if len(batch) == SLICE:
                events.append(Submitted(tuple(batch)))
                batch = []
                await asyncio.sleep(0)
        if batch:
            events.append(Submitted(tuple(batch)))
        if message.key:
            self._keep_key(gathering, _scope(message), REQUEST + message.key, digest, ids)
        single = events[0].jobs[0].job if events and len(ids) == 1 else None
        if single is not None:
            gathering.rest.starts.append(single)  # read back within the commit's hop
        return Submission(ids, bool(events) or not repeats, single), events

    def _new(
        self, job: int, prepared: Prepared, at: float, places: list[Place], ids: list[str]
    ) -> tuple[NewRow, NewJob]:
        runner, treatment, name, tags, batch_key, spec, needs, run_at, expires_at, *_ = prepared
        org_id = treatment.org_id
        number = self.numbers.next_number(org_id)
        depends_on: tuple[Dependency, ...] = ()
        if needs:
            depends_on = tuple(self._dependency(need, places, org_id) for need in needs)
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

    def _pinned(self, row: NewRow, prepared: Prepared, gathering: Gathering) -> NewRow:
        """The job as it is to be kept, with what its names of uploaded files stand for now."""
        pins = inputs.pins(prepared.named, row.org_id, self._known)
        gathering.rest.pins.extend(PinRow(row.job, name, sha256) for name, sha256 in pins.items())
        return row._replace(spec=orjson.dumps({**orjson.loads(row.spec), "blobs": pins})) if pins else row

    def _dependency(self, need: Need, places: list[Place], org_id: str) -> Dependency:
        place = places[need.index] if need.index is not None else self._named(org_id, need.job_id or "")
        assert place is not None, "what there is not was refused"
        return Dependency(place[0], need.on, place[1])

    def _named(self, org_id: str, job_id: str) -> Place | None:
        """The place of an org's job, be it from before or of this round."""
        if row := self._row(org_id, job_id):
            return row.job, row.state if row.state in FINAL else None
        fresh = self._fresh.get(job_id)
        return (fresh.job, None) if fresh and fresh.org_id == org_id else None

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
        if message.waiting_only and row.state not in WAITING:
            raise Conflict(f"job {row.id} is {row.state}, and waits no more")
        return Cancelled(row.job)

    def retry(self, message: Retry) -> Event:
        row = self._found(message.org, message.job_id)
        if row.state not in FINAL:
            raise Conflict(f"job {row.id} is {row.state}; only a final job can be retried")
        if lost := self._known.lost.get(row.id):
            raise Conflict(f"job {row.id} needs blob {lost}, which is no longer kept; upload it again, then retry")
        history = History(attempt=row.history.attempt, reopened=row.history.reopened + 1)
        depends_on = []
        for need in _needs_of(row):
            parent = self._known.jobs.get(need.job_id or "")
            if parent is not None and parent.org_id == row.org_id:
                depends_on.append(Dependency(parent.job, need.on, parent.state if parent.state in FINAL else None))
        return Reopened(NewJob(row.job, row.treatment, history, depends_on=tuple(depends_on)))

    def edit(self, message: Edit, gathering: Gathering) -> Event:
        """The change of one job; its row is gathered too."""
        row = self._found(message.org, message.job_id)
        if row.state in FINAL:
            raise Conflict(f"job {row.id} is {row.state}; only an unfinished job can be changed")
        edited = self._edited(row, message)
        if refused := self._refusals(edited.treatment):
            raise BadSpec([FieldError(f"/{place}", text) for place, text in refused])
        edit = EditRow(
            job=row.job,
            treatment=edited.treatment,
            spec=edited.spec,
            tags=tuple(orjson.loads(edited.spec).get("tags", {}).items()),
            run_at=edited.run_at,
            expires_at=edited.expires_at,
            name=edited.name,
            batch_key=edited.batch_key,
        )
        gathering.rest.edits.append(edit)
        self._known.jobs[row.id] = edited  # for a later request of the same round
        return Edited(row.job, edit.treatment, edit.run_at, edit.expires_at)

    def _edited(self, row: JobRow, message: Edit) -> JobRow:
        patch, given = message.patch, message.patch.model_fields_set
        treatment = self._treated(row, message)
        changes: dict[str, Any] = {name: getattr(patch, name) for name in ("name", "batch_key") if name in given}
        changes.update((name, wall(getattr(patch, name))) for name in ("run_at", "expires_at") if name in given)
        if "tags" in given:
            changes["spec"] = orjson.dumps({**orjson.loads(row.spec), "tags": patch.tags})
        return replace(row, treatment=treatment, priority=treatment.priority, **changes)

    def _treated(self, row: JobRow, message: Edit) -> Treatment:
        patch, given = message.patch, message.patch.model_fields_set
        lane = self._lanes.get(row.queue)
        changes: dict[str, Any] = {}
        if "priority" in given:
            changes["priority"] = patch.priority
        if "timeout_s" in given:
            changes["timeout_s"] = patch.timeout_s if patch.timeout_s is not None or lane is None else lane.timeout_s
        if "retries" in given:
            default = lane.retries if lane else row.treatment.retries
            changes["retries"] = policy(patch.retries) if patch.retries else default
        if "resources" in given:
            changes["resources"] = resources_of(patch, lane)
        if "requires" in given:
            changes["requires"] = tuple(sorted(patch.requires.items()))
        if "batch_key" in given:
            changes["session_key"] = message.own_key if patch.batch_key is None else patch.batch_key
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
