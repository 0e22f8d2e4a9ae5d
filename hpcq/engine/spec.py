"""JobSpec: what a client says of a job."""

import math
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from hpcq.core.job import On

PRIORITIES = {"low": -10, "normal": 0, "high": 10, "critical": 20}
MAX_INT = 2**63 - 1
_DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]")
MAX_DEPTH = 100


def _whole(value: Any) -> Any:
    """JSON knows no difference between 3 and 3.0."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_INT else value


def _priority(value: Any) -> Any:
    if isinstance(value, str):
        if value not in PRIORITIES:
            raise ValueError(f"a priority is a number from -100 to 100, or one of {', '.join(PRIORITIES)}")
        return PRIORITIES[value]
    return _whole(value)


def _utf8(value: str) -> str:
    if "\x00" in value:
        raise ValueError("must not hold a NUL character")
    return value


def _uuid(value: str) -> str:
    try:
        return str(UUID(value))
    except ValueError:
        raise ValueError("a job's id is a UUID") from None


def _rfc3339(value: Any) -> Any:
    if not (isinstance(value, str) and _DATE.match(value)):
        raise ValueError("a time is RFC 3339 text, such as 2026-01-31T12:00:00Z")
    return value


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is beyond the calendar's ends") from None


Int = Annotated[int, Field(strict=True, ge=-MAX_INT, le=MAX_INT), BeforeValidator(_whole)]
Seconds = Annotated[float, Field(strict=True, ge=0, le=10 * 365 * 86400, allow_inf_nan=False)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_utf8)]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,100}$")]
JobId = Annotated[str, AfterValidator(_uuid)]
Amount = Annotated[float, Field(strict=True, gt=0, le=1e12, allow_inf_nan=False)]
TagKey = Annotated[str, StringConstraints(pattern=r"^[^:=\s\x00]{1,100}$")]
TagValue = Annotated[str, StringConstraints(max_length=500), AfterValidator(_utf8)]
Tags = Annotated[dict[TagKey, TagValue], Field(max_length=50)]
Priority = Annotated[int, Field(strict=True, ge=-100, le=100), BeforeValidator(_priority, json_schema_input_type=Any)]
Time = Annotated[AwareDatetime, BeforeValidator(_rfc3339), AfterValidator(_utc)]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RetrySpec(Model):
    """How often a failed job is tried again, and after what pause."""

    max: Annotated[Int, Field(ge=0, le=1000, json_schema_extra={"minimum": 0, "maximum": 1000})] = 0
    backoff_s: Annotated[Seconds, Field(le=86400)] = 1.0
    factor: Annotated[float, Field(strict=True, ge=1, le=10, allow_inf_nan=False)] = 2.0
    max_backoff_s: Annotated[Seconds, Field(le=86400)] = 60.0
    jitter: Annotated[bool, Field(strict=True)] = True


class DependsOn(Model):
    """Wait for the end of one job: an existing one, or an earlier one of the same array."""

    job: JobId | None = None
    index: Annotated[Int, Field(ge=0, json_schema_extra={"minimum": 0})] | None = None
    on: On = On.SUCCESS


def _dependency(value: Any) -> Any:
    return {"job": value} if isinstance(value, str) else value


class Treated(Model):
    """The fields that can still be changed while a job is not final."""

    name: Name | None = None
    priority: Priority = 0
    tags: Tags = {}
    timeout_s: Annotated[Seconds, Field(gt=0)] | None = None
    retries: RetrySpec | None = None
    resources: Annotated[dict[Word, Amount], Field(max_length=50)] = {}
    requires: Annotated[dict[Word, TagValue], Field(max_length=50)] = {}
    run_at: Time | None = None
    expires_at: Time | None = None
    batch_key: Name | None = None


class JobSpec(Treated):
    """One unit of work: a queue, its runner's `params`, and how to treat it."""

    queue: Word
    params: dict[str, Any]
    org_id: Word = "default"
    depends_on: Annotated[
        list[Annotated[DependsOn, BeforeValidator(_dependency, json_schema_input_type=str | DependsOn)]],
        Field(max_length=1000),
    ] = []
    delay_s: Seconds | None = None
    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_utf8)] | None = (
        None
    )


class JobPatch(Treated):
    """A change of a job that is not final; absent fields stay."""


class ActionSpec(Model):
    """One action on all jobs that a filter finds."""

    action: Literal["cancel", "retry", "patch"]
    filter: dict[str, Any]
    patch: JobPatch | None = None


def wall(time: datetime | None) -> float | None:
    """Seconds since the epoch."""
    return None if time is None else time.timestamp()


def unreadable(value: Any) -> tuple[str, str] | None:
    """(pointer, what is wrong) of the first place in free JSON that a client could not read back, or None."""
    stack = [("", 0, value)]
    while stack:
        pointer, depth, inner = stack.pop()
        kind = type(inner)
        if kind is dict or kind is list:
            if depth == MAX_DEPTH:
                return pointer, f"nested deeper than {MAX_DEPTH} levels"
            pairs: Any = inner.items() if kind is dict else enumerate(inner)
            for key, item in pairs:
                if type(item) is not str:
                    part = key if kind is list else key.replace("~", "~0").replace("/", "~1")
                    stack.append((f"{pointer}/{part}", depth + 1, item))
        elif kind is int and abs(inner) > MAX_INT:
            return pointer, "a whole number beyond 2^63 - 1; write it as text"
        elif kind is float and not math.isfinite(inner):
            return pointer, "not a finite number"
    return None
