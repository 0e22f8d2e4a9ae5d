"""ScheduleSpec: what a client says of a schedule, checked to the last field of its jobs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from hpcq.engine import cron
from hpcq.engine.errors import BadSpec, FieldError
from hpcq.engine.intake import Prepared, field_errors
from hpcq.engine.spec import Model, Name

if TYPE_CHECKING:
    from hpcq.engine.engine import Engine

MOST_JOBS = 1000  # of one schedule
TAG = "schedule"  # the tag by which its jobs are found
ABSOLUTE = {
    "idempotency_key": "a schedule makes new jobs each time; leave this out",
    "run_at": "the schedule says when; use delay_s for a delay after that",
    "expires_at": "the same time for every run would soon be in the past; leave this out",
}


def _zone(name: str) -> str:
    cron.zone(name)
    return name


CronLine = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(cron.check)]
Zone = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_zone)]
Jobs = Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MOST_JOBS)]


class ScheduleSpec(Model):
    """Jobs to be submitted by the clock: exactly one of `job` and `jobs`, each of them a JobSpec."""

    name: Name
    cron: CronLine
    timezone: Zone = "UTC"
    job: dict[str, Any] | None = None
    jobs: Jobs | None = None
    overlap: Literal["skip", "queue", "allow"] = "skip"
    catch_up: Literal["none", "one", "all"] = "none"
    paused: Annotated[bool, Field(strict=True)] = False


@dataclass(frozen=True, slots=True)
class Checked:
    """A request that can be carried out."""

    spec: ScheduleSpec
    jobs: list[dict[str, Any]] | None  # as they were given; None: a change that leaves them
    org_id: str | None  # that they belong to


async def check(engine: "Engine", org: str | None, raw: Any, before: dict[str, Any] | None = None) -> Checked:
    """Check the body of a new schedule, or of a change to one that is `before` (its fields without the jobs).

    Raises BadSpec that names every bad field, and NotFound or Unavailable as Intake.accept does.
    """
    if not isinstance(raw, dict):
        raise BadSpec([FieldError("", "a schedule is a JSON object with name, cron, and job or jobs")])
    body = {**(before or {}), **raw}
    errors: list[FieldError] = []
    spec = None
    try:
        spec = ScheduleSpec.model_validate(body)
    except ValidationError as error:
        errors += field_errors(error, body)
    place, jobs = _jobs(body, errors, wanted=before is None)
    accepted: list[Prepared] = []
    if jobs:
        jobs_tagged = [tagged(job, spec.name) if spec else job for job in jobs]
        accepted = await _accepted(engine, org, jobs_tagged, place, errors)
    if errors or spec is None:
        raise BadSpec(errors)
    return Checked(spec, jobs or None, accepted[0].treatment.org_id if accepted else None)


def _jobs(body: dict[str, Any], errors: list[FieldError], *, wanted: bool) -> tuple[str, list[Any]]:
    """Where in the body the jobs are ("/job", or "/jobs" with an index to come), and the jobs."""
    job, jobs = body.get("job"), body.get("jobs")
    if job is not None and jobs is not None:
        errors.append(FieldError("/jobs", "give job or jobs, not both"))
    elif job is not None:
        return "/job", [job] if isinstance(job, dict) else []
    elif isinstance(jobs, list) and len(jobs) <= MOST_JOBS and all(isinstance(one, dict) for one in jobs):
        return "/jobs", jobs
    elif jobs is None and wanted:
        errors.append(FieldError("/job", "missing; a schedule needs a job, or a list of jobs"))
    return "", []


async def _accepted(
    engine: "Engine", org: str | None, jobs: list[dict[str, Any]], place: str, errors: list[FieldError]
) -> list[Prepared]:
    """The jobs as the intake takes them; what is wrong with them goes to `errors`."""
    found: list[FieldError] = []
    accepted: list[Prepared] = []
    try:
        accepted = await engine.intake.accept(jobs, org=org, bulk=True)
    except BadSpec as bad:
        found += bad.errors
    for index, job in enumerate(jobs):
        found += [FieldError(f"/{index}/{name}", why) for name, why in ABSOLUTE.items() if job.get(name) is not None]
    for index, prepared in enumerate(accepted):
        found += [FieldError(f"/{index}/{name}", why) for name, why in engine.core.refusals(prepared.treatment)]
        if prepared.treatment.org_id != (first := accepted[0].treatment.org_id):
            found.append(FieldError(f"/{index}/org_id", f"all jobs of a schedule belong to one org; here {first}"))
    errors += placed(found, place)
    return accepted


def placed(errors: Sequence[FieldError], place: str) -> list[FieldError]:
    """Pointers into an array of jobs (/0/queue) as pointers into a schedule's body."""
    if place == "/job":
        return [FieldError("/job" + error.pointer.removeprefix("/0"), error.detail) for error in errors]
    return [FieldError(place + error.pointer, error.detail) for error in errors]


def tagged(job: dict[str, Any], name: str) -> dict[str, Any]:
    """The job with the schedule's tag."""
    tags = job.get("tags", {})
    return {**job, "tags": {**tags, TAG: name}} if isinstance(tags, dict) else job
