"""From what a client says of a job to what the engine keeps of it: validated, with every bad field named."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from hpcq.core.job import On, RetryPolicy, Treatment
from hpcq.engine.errors import BadSpec, FieldError, NotFound, Unavailable
from hpcq.engine.lane import Lane
from hpcq.engine.spec import JobSpec, RetrySpec, Treated, unreadable, wall

T = TypeVar("T")
SLICE_S = 0.005  # how long validating may hold up the loop at a time
CACHE = 4096


@dataclass(frozen=True, slots=True)
class Need:
    """A dependency as a client names it: a job's id, or the index of an earlier job of the same array."""

    on: On
    job_id: str | None = None
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
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

    def digest(self) -> bytes:
        """SHA-256 of all but the key: "the same body" of an idempotent submit."""
        t = self.treatment
        parts = (t.queue, t.org_id, t.priority, t.session_key, t.resources, t.requires, t.timeout_s, t.retries)
        text = repr((parts, self.name, self.batch_key, self.run_at, self.expires_at)).encode()
        return hashlib.sha256(text + b"\0" + self.spec).digest()


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
        FieldError(prefix + pointer(problem["loc"], body), problem["msg"].removeprefix("Value error, "))
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    ]


class Intake:
    """Accepts what clients submit. Equal treatments come back as one object."""

    def __init__(self, lanes: Mapping[str, Lane], now: Callable[[], float] = time.time) -> None:
        self._lanes = lanes
        self._now = now
        self._treatments: dict[Treatment, Treatment] = {}
        self._specs: dict[bytes, JobSpec] = {}

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
                if len(errors) > 1000:
                    break
            if bulk and time.perf_counter() > stop:
                await asyncio.sleep(0)
                stop = time.perf_counter() + SLICE_S
        if errors:
            raise BadSpec(errors)
        return found

    async def _one(self, raw: Any, org: str | None, index: int) -> Prepared:
        spec, errors = self._spec(raw)
        lane = self._lanes.get(spec.queue) if spec else self._lane_of(raw)
        if lane is None:
            known = ", ".join(sorted(self._lanes))
            if isinstance(raw, dict) and isinstance(raw.get("queue"), str):
                errors.append(FieldError("/queue", f"no queue {raw['queue']!r}; there are {known}"))
            raise BadSpec(errors)
        if lane.broken:
            raise Unavailable(f"queue {lane.name}: its runner {lane.runner_name} could not be loaded: {lane.broken}")
        params = raw.get("params") if isinstance(raw, dict) else None
        if not isinstance(params, dict):
            raise BadSpec(errors)
        if bad := unreadable(params):
            raise BadSpec([*errors, FieldError(f"/params{bad[0]}", bad[1])])
        model = await self._params(lane, params, errors)
        if spec:
            self._check(spec, org, index, errors)
        if errors or spec is None:
            raise BadSpec(errors)
        return await self._prepared(spec, lane, params, model, org)

    def _lane_of(self, raw: Any) -> Lane | None:
        queue = raw.get("queue") if isinstance(raw, dict) else None
        return self._lanes.get(queue) if isinstance(queue, str) else None

    def _spec(self, raw: Any) -> tuple[JobSpec | None, list[FieldError]]:
        """The validated spec. Its `params` are not looked at; equal rests of a body are validated once."""
        if not isinstance(raw, dict):
            return None, [FieldError("", "a job is a JSON object with queue and params")]
        rest = {**raw, "params": {}} if isinstance(raw.get("params"), dict) else raw
        try:
            text = orjson.dumps(rest)
        except TypeError:
            text = b""
        if known := self._specs.get(text):
            return known, []
        try:
            spec = JobSpec.model_validate(rest)
        except ValidationError as error:
            return None, field_errors(error, rest)
        if len(self._specs) >= CACHE:
            self._specs.clear()
        if text:
            self._specs[text] = spec
        return spec, []

    async def _params(self, lane: Lane, params: dict[str, Any], errors: list[FieldError]) -> Any:
        try:
            return await _asked(lane, lambda: lane.validate(params))
        except ValidationError as error:
            errors.extend(field_errors(error, params, "/params"))
            return None

    def _check(self, spec: JobSpec, org: str | None, index: int, errors: list[FieldError]) -> None:
        if org is not None and spec.org_id != org and "org_id" in spec.model_fields_set:
            raise NotFound(f"org {spec.org_id} is not yours")
        if spec.run_at is not None and spec.delay_s is not None:
            errors.append(FieldError("/delay_s", "give run_at or delay_s, not both"))
        for place, need in enumerate(spec.depends_on):
            if (need.job is None) == (need.index is None):
                errors.append(FieldError(f"/depends_on/{place}", "give exactly one of job and index"))
            elif need.index is not None and need.index >= index:
                errors.append(
                    FieldError(f"/depends_on/{place}/index", f"{need.index} is not an earlier job of the same array")
                )

    async def _prepared(
        self, spec: JobSpec, lane: Lane, params: dict[str, Any], model: Any, org: str | None
    ) -> Prepared:
        session_key, implied = await _asked(
            lane, lambda: (spec.batch_key or lane.session_key(model), lane.depends_on(model))
        )
        run_at = wall(spec.run_at) if spec.delay_s is None else self._now() + spec.delay_s
        kept: dict[str, Any] = {"params": params}
        if spec.tags:
            kept["tags"] = spec.tags
        needs = tuple(_needs(spec, implied))
        if needs:
            kept["depends_on"] = [_public(need) for need in needs]
        return Prepared(
            runner=lane.runner_name,
            treatment=self.treatment(spec, lane, org or spec.org_id, session_key),
            name=spec.name,
            tags=tuple(spec.tags.items()),
            batch_key=spec.batch_key,
            spec=orjson.dumps(kept),
            needs=needs,
            run_at=run_at,
            expires_at=wall(spec.expires_at),
            key=spec.idempotency_key,
        )

    def treatment(self, treated: Treated, lane: Lane, org_id: str, session_key: str | None) -> Treatment:
        """How the job is to be treated; one object for equal ones."""
        resources = treated.resources or lane.default_resources
        fresh = Treatment(
            queue=lane.name,
            org_id=org_id,
            priority=treated.priority,
            session_key=session_key,
            resources=tuple(sorted(resources.items())) if resources else (),
            requires=tuple(sorted(treated.requires.items())) if treated.requires else (),
            timeout_s=lane.timeout_s if treated.timeout_s is None else treated.timeout_s,
            retries=lane.retries if treated.retries is None else policy(treated.retries),
        )
        return self.shared(fresh)

    def shared(self, treatment: Treatment) -> Treatment:
        """The one object that stands for all equal treatments."""
        if len(self._treatments) >= CACHE:
            self._treatments.clear()
        return self._treatments.setdefault(treatment, treatment)


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
        raise Unavailable(f"queue {lane.name}: runner {lane.runner_name} could not check the job: {error}") from error


def _needs(spec: JobSpec, implied: Sequence[str]) -> Iterator[Need]:
    for need in spec.depends_on:
        yield Need(need.on, need.job, need.index)
    named = {need.job for need in spec.depends_on}
    for job_id in implied:
        if job_id not in named:
            yield Need(On.SUCCESS, job_id)


def _public(need: Need) -> dict[str, Any]:
    place: dict[str, Any] = {"job": need.job_id} if need.job_id else {"index": need.index}
    return {**place, "on": need.on.value}
