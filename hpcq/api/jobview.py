"""The Job that clients see, made from the store's row."""

import time
from typing import TYPE_CHECKING, Any

import orjson

from hpcq.engine.testcases import from_json, result_of
from hpcq.engine.times import timestamp

if TYPE_CHECKING:
    from hpcq.store.rows import AttemptRow, EventRow, JobRow


def embedded(value: bytes | None) -> orjson.Fragment | None:
    """JSON that goes out as it came."""
    return None if value is None else orjson.Fragment(value)


def job(row: "JobRow", progress: dict[str, Any] | None = None, now: float | None = None) -> dict[str, Any]:
    """The Job as a dict for orjson. `progress`: the live one of a running attempt; `now`: wall time."""
    spec: dict[str, Any] = orjson.loads(row.spec)
    treatment, history, retries = row.treatment, row.history, row.treatment.retries
    until = row.finished_at or now or time.time()
    started = row.started_at
    return {
        "id": row.id,
        "number": row.number,
        "state": row.state,
        "queue": row.queue,
        "runner": row.runner,
        "name": row.name,
        "org_id": row.org_id,
        "priority": treatment.priority,
        "params": spec["params"],
        "tags": spec.get("tags", {}),
        "depends_on": spec.get("depends_on", []),
        "blobs": spec.get("blobs", {}),
        "timeout_s": treatment.timeout_s,
        "retries": {
            "max": retries.max,
            "backoff_s": retries.backoff_s,
            "factor": retries.factor,
            "max_backoff_s": retries.max_backoff_s,
            "jitter": retries.jitter,
        },
        "resources": dict(treatment.resources),
        "requires": dict(treatment.requires),
        "run_at": timestamp(row.run_at),
        "expires_at": timestamp(row.expires_at),
        "batch_key": row.batch_key,
        "slot": row.slot,
        "attempt": history.attempt,
        "retries_left": max(0, retries.max - history.retries_used),
        "created_at": timestamp(row.created_at),
        "updated_at": timestamp(row.updated_at),
        "started_at": timestamp(started),
        "finished_at": timestamp(row.finished_at),
        "wait_s": round(max(0.0, (started or until) - row.created_at), 3),
        "run_s": None if started is None else round(max(0.0, until - started), 3),
        "progress": progress or embedded(row.progress),
        "result": embedded(row.result),
        "error": embedded(row.error),
        "usage": embedded(row.usage),
        "artifacts": embedded(row.artifacts) or [],
    }


def attempt(row: "AttemptRow") -> dict[str, Any]:
    """One try at a job."""
    ran = None if row.started_at is None or row.finished_at is None else round(row.finished_at - row.started_at, 3)
    return {
        "attempt": row.attempt,
        "state": row.state,
        "slot": row.slot,
        "started_at": timestamp(row.started_at),
        "finished_at": timestamp(row.finished_at),
        "run_s": ran,
        "result": _own_result(row),
        "commit": row.commit,
        "error": embedded(row.error),
        "usage": embedded(row.usage),
        "output_bytes": row.output_bytes or 0,
        "truncated": bool(row.truncated),
    }


def _own_result(row: "AttemptRow") -> Any:
    """With what its own tests reported."""
    if row.tests is None:
        return embedded(row.result)
    return result_of(from_json(row.tests), orjson.loads(row.result) if row.result else None)


def event(row: "EventRow") -> bytes:
    """One change, as JSON; `detail` adds members."""
    seen = {
        "seq": row.seq or None,
        "at": timestamp(row.at),
        "type": row.type,
        "job": row.job_id,
        "number": row.number,
        "state": row.state,
        "queue": row.queue,
        "org_id": row.org_id,
        "attempt": row.attempt,
    }
    if row.detail:
        seen.update(orjson.loads(row.detail))
    return orjson.dumps(seen)
