"""From what a client says of a job to what the engine keeps of it: validated, with every bad field named."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from hpcq import wording
from hpcq.core.job import On, RetryPolicy, Treatment
from hpcq.engine.errors import BadSpec, FieldError, Forbidden, Unavailable
from hpcq.engine.inputs import Named, named_in
from hpcq.engine.lane import Lane
from hpcq.engine.spec import JobSpec, RetrySpec, Treated, unreadable, wall
from hpcq.engine.verdict import said
from hpcq.store.rows import JobRow

T = TypeVar("T")
SLICE_S = 0.005  # how long validating may hold up the loop at a time
CACHE = 4096
MOST_ERRORS = 1000  # in one answer


@dataclass(frozen=True, slots=True)
class Need:
    """A dependency as a client names it: a job's id, or the index of an earlier job of the same array."""

    on: On
    job_id: str | None = None
    index: int | None = None


class Prepared(NamedTuple):
    """A job that can be submitted."""

    runner: str
    treatment: Treatment
    name: str | None
    tags: tuple[tuple[str, str], ...]
    batch_key: str | None
    spec: bytes  # JSON: {"params", "tags", "depends_on"}, what the store keeps beside its columns
    needs: tuple[Need, ...] = ()
    run_at: float | None = None  # wall time
    expires_at: float | None = None
    key: str | None = None
    delay_s: float | None = None  # what `run_at` was made of
    named: tuple[Named, ...] = ()  # the uploaded files that its params name
    unread: bytes = b""  # what else the body said, which the job does not keep

    def digest(self) -> bytes:
        """SHA-256 of all but the key: "the same body" of an idempotent submit."""
        t = self.treatment
        parts = (t.queue, t.org_id, t.priority, t.session_key, t.resources, t.requires, t.timeout_s, t.retries)
        when = self.run_at if self.delay_s is None else ("delay", self.delay_s)
        text = repr((parts, self.name, self.batch_key, when, self.expires_at)).encode()
        return hashlib.sha256(text + b"\0" + self.spec + self.unread).digest()


def pointer(loc: Sequence[int | str], body: Any) -> str:
    """The JSON pointer to pydantic's place in `body`; union tags, which name nothing in a body, are left out."""
    parts: list[str] = []
    here = body
    for position, part in enumerate(loc):
        inside = (isinstance(here, dict) and part in here) or (
            isinstance(here, list) and isinstance(part, int) and part < len(here)
        )
        if inside:
            here = here[part]
        elif position < len(loc) - 1 or part == "[key]" or not isinstance(here, dict):
            continue
        parts.append(str(part).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in parts)


def field_errors(error: ValidationError, body: Any, prefix: str = "") -> list[FieldError]:
    """Every field that pydantic refused, as pointers into `body` behind `prefix`."""
    return [
        FieldError(prefix + pointer(problem["loc"], body), wording.said(problem))
        for problem in error.errors(include_url=False)
    ]


@dataclass(frozen=True, slots=True)
class Template:
    """All of a job but its params: what the jobs of a sweep have in common is looked at once."""

    spec: JobSpec
    lane: Lane
    treatment: Treatment  # without a session key that the runner makes of the params
    needs: tuple[Need, ...]
    tags: tuple[tuple[str, str], ...]
    rest: dict[str, Any]  # what is kept beside the params


class Intake:
    """Accepts what clients submit. Equal treatments come back as one object."""

    def __init__(self, lanes: Mapping[str, Lane], now: Callable[[], float]) -> None:
        self._lanes = lanes
        self._now = now
        self._treatments: dict[Treatment, Treatment] = {}
        self._templates: dict[tuple[bytes | None, str | None], Template] = {}

    async def accept(self, raws: Sequence[Any], *, org: str | None = None, bulk: bool = False) -> list[Prepared]:
        """Validate JSON objects as JobSpecs; `org`: the caller's, None when it may name any.

        Raises BadSpec (pointers begin with the index when `bulk`), Unavailable for a queue whose runner is broken.
        """
        found: list[Prepared] = []
        errors: list[FieldError] = []
        stop = time.perf_counter() + SLICE_S
        for index, raw in enumerate(raws):
            try:
                found.append(await self._one(raw, org, index))
            except BadSpec as bad:
                prefix = f"/{index}" if bulk else ""
                errors.extend(FieldError(prefix + error.pointer, error.detail) for error in bad.errors)
                if len(errors) > MOST_ERRORS:
                    break
            if bulk and time.perf_counter() > stop:
                await asyncio.sleep(0)
                stop = time.perf_counter() + SLICE_S
        if errors:
            raise BadSpec(errors)
        return found

    async def _one(self, raw: Any, org: str | None, index: int) -> Prepared:
        if not isinstance(raw, dict):
            raise BadSpec([FieldError("", "a job is a JSON object with queue and params")])
        params = raw.get("params")
        rest = {**raw, "params": {}} if isinstance(params, dict) else raw
        key = _key_of(rest), org
        template = self._templates.get(key)
        errors: list[FieldError] = []
        if template is None:
            template = self._template(rest, org, errors)
            if template is not None and not errors and key[0] is not None:
                self._remember(key, template)
        lane = template.lane if template else self._lanes.get(str(raw.get("queue")))
        if lane is None or not isinstance(params, dict):
            raise BadSpec(errors)
        model = await self._params(lane, params, errors)
        if template is not None and template.needs:
            errors.extend(_bad_indices(template.needs, index))
        if errors or template is None:
            raise BadSpec(errors)
        return await self._prepared(template, params, model)

    def _remember(self, key: Any, template: Template) -> None:
        if len(self._templates) >= CACHE:
            self._templates.clear()
        self._templates[key] = template

    def _template(self, rest: dict[str, Any], org: str | None, errors: list[FieldError]) -> Template | None:
        """Validate all but the params; None, and `errors`, when that cannot be."""
        try:
            spec = JobSpec.model_validate(rest)
        except ValidationError as error:
            errors.extend(field_errors(error, rest))
            spec = None
        queue = rest.get("queue")
        lane = self._lanes.get(queue) if isinstance(queue, str) else None
        if lane is not None and lane.broken:
            raise Unavailable(f"queue {lane.name}: its runner {lane.runner_name} could not be loaded: {lane.broken}")
        if lane is None and isinstance(queue, str):
            errors.append(FieldError("/queue", self._unknown(queue)))
        if spec is None or lane is None:
            return None
        if org is not None and "org_id" in spec.model_fields_set and spec.org_id != org:
            raise Forbidden(f"org {spec.org_id} is not yours; leave org_id out, or make it {org}")
        errors.extend(_contradictions(spec))
        kept = {"tags": spec.tags} if spec.tags else {}
        needs = tuple(Need(need.on, need.job, need.index) for need in spec.depends_on)
        treatment = self.treatment(spec, lane, org or spec.org_id, spec.batch_key)
        return Template(spec, lane, treatment, needs, tuple(spec.tags.items()), kept)

    def _unknown(self, queue: str) -> str:
        known = ", ".join(sorted(self._lanes))
        return f"there is no queue {queue!r}; there are {known}; a config makes others: hpcq serve --config FILE"

    async def _params(self, lane: Lane, params: dict[str, Any], errors: list[FieldError]) -> Any:
        if bad := unreadable(params):
            errors.append(FieldError(f"/params{bad[0]}", bad[1]))
            return None
        try:
            return lane.validate(params) if not lane.foreign else await _asked(lane, lambda: lane.validate(params))
        except ValidationError as error:
            errors.extend(field_errors(error, params, "/params"))
            return None

    async def _prepared(self, template: Template, params: dict[str, Any], model: Any) -> Prepared:
        spec, lane, needs, treatment = template.spec, template.lane, template.needs, template.treatment
        if lane.foreign:
            session_key, implied = await _asked(lane, lambda: (lane.session_key(model), lane.depends_on(model)))
        else:
            session_key, implied = lane.session_key(model), lane.depends_on(model)
        if session_key is not None and spec.batch_key is None:
            treatment = self.shared(replace(treatment, session_key=session_key))
        if implied:
            named = {need.job_id for need in needs}
            needs = (*needs, *(Need(On.SUCCESS, job_id) for job_id in implied if job_id not in named))
        kept = {"params": params, **template.rest}
        if needs:
            kept["depends_on"] = [_public(need) for need in needs]
        run_at = wall(spec.run_at) if spec.delay_s is None else self._now() + spec.delay_s
        text, key = _snug(orjson.dumps(kept)), spec.idempotency_key
        tags, expires_at = template.tags, wall(spec.expires_at)
        return Prepared(  # by place: a bulk makes them by the hundred thousand
            lane.runner_name,
            treatment,
            spec.name,
            tags,
            spec.batch_key,
            text,
            needs,
            run_at,
            expires_at,
            key,
            spec.delay_s,
            named_in(params, text),
        )

    def treatment(self, treated: Treated, lane: Lane, org_id: str, session_key: str | None) -> Treatment:
        """How the job is to be treated; one object for equal ones."""
        fresh = Treatment(
            queue=lane.name,
            org_id=org_id,
            priority=treated.priority,
            session_key=session_key,
            resources=resources_of(treated, lane),
            requires=tuple(sorted(treated.requires.items())) if treated.requires else (),
            timeout_s=lane.timeout_s if treated.timeout_s is None else treated.timeout_s,
            retries=lane.retries if treated.retries is None else policy(treated.retries),
        )
        return self.shared(fresh)

    async def own_key(self, row: JobRow) -> str | None:
        """The session key that the runner makes of a job's params. Raises BadSpec, Unavailable."""
        lane = self._lanes.get(row.queue)
        if lane is None or lane.runner is None:
            return None
        params = orjson.loads(row.spec)["params"]
        try:
            return await _asked(lane, lambda: lane.session_key(lane.validate(params)))
        except ValidationError as error:
            wrong = "; ".join(f"{bad.pointer[1:]}: {bad.detail}" for bad in field_errors(error, params))
            text = f"runner {lane.runner_name} makes no key of the job's params: it takes them no more: {wrong}"
            raise BadSpec([FieldError("/batch_key", text)]) from None

    def shared(self, treatment: Treatment) -> Treatment:
        """The one object that stands for all equal treatments."""
        if len(self._treatments) >= CACHE:
            self._treatments.clear()
        return self._treatments.setdefault(treatment, treatment)


def resources_of(treated: Treated, lane: Lane | None) -> tuple[tuple[str, float], ...]:
    """What a job takes: without any of its own, what its queue's runner says; a queue that is gone says nothing."""
    resources = treated.resources or (lane.default_resources if lane else None)
    return tuple(sorted(resources.items())) if resources else ()


def policy(retries: RetrySpec | BaseModel) -> RetryPolicy:
    """The core's form of a retries table."""
    return RetryPolicy(**retries.model_dump())


async def _asked(lane: Lane, call: Callable[[], T]) -> T:
    """What a runner's own code says of a job; a foreign one is asked on its thread, at most a second."""
    try:
        if lane.foreign:
            answer: T = await lane.guarded(call)
            return answer
        return call()
    except ValidationError:
        raise
    except Exception as error:
        about = f"queue {lane.name}: runner {lane.runner_name}"
        raise Unavailable(f"{about} could not check the job: {said(error)}") from error


def _snug(text: bytes) -> bytes:
    """The same bytes in no more memory than they take: orjson leaves a kilobyte around each."""
    return memoryview(text).tobytes()


def _key_of(rest: dict[str, Any]) -> bytes | None:
    """What equal bodies have in common; None for what orjson cannot write (nested too deep)."""
    try:
        return orjson.dumps(rest)
    except TypeError:
        return None


def _contradictions(spec: JobSpec) -> Iterator[FieldError]:
    if spec.run_at is not None and spec.delay_s is not None:
        yield FieldError("/delay_s", "give run_at or delay_s, not both")
    for place, need in enumerate(spec.depends_on):
        if (need.job is None) == (need.index is None):
            yield FieldError(f"/depends_on/{place}", "give exactly one of job and index")


def _bad_indices(needs: Sequence[Need], index: int) -> Iterator[FieldError]:
    for place, need in enumerate(needs):
        if need.index is not None and need.index >= index:
            text = f"{need.index} is not an earlier job of the same array"
            yield FieldError(f"/depends_on/{place}/index", text)


def _public(need: Need) -> dict[str, Any]:
    place: dict[str, Any] = {"job": need.job_id} if need.job_id else {"index": need.index}
    return {**place, "on": need.on.value}
