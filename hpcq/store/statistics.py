"""How the jobs that ended lately went, by queue."""

from dataclasses import dataclass
from typing import Any

from hpcq.store.statements import FINAL_SQL

LOOKED_AT = 100_000  # of the newest jobs, so that the question has a bound

ENDED_SQL = f"""
    WITH ended AS (
        SELECT l.queue, j.state, j.finished_at - j.started_at AS run_s, j.started_at - j.created_at AS wait_s
        FROM jobs j CROSS JOIN lanes l ON l.lane = j.lane
        WHERE j.job > (SELECT max(job) FROM jobs) - {LOOKED_AT} AND j.state IN {FINAL_SQL} AND j.finished_at > ?2
            AND (?1 IS NULL OR l.org_id = ?1)
    ), ranked AS (
        SELECT queue, state, run_s, wait_s,
            cume_dist() OVER (PARTITION BY queue, run_s IS NULL ORDER BY run_s) AS run_rank,
            cume_dist() OVER (PARTITION BY queue, wait_s IS NULL ORDER BY wait_s) AS wait_rank
        FROM ended
    )
    SELECT queue,
        count(*) FILTER (WHERE state = 'succeeded'), count(*) FILTER (WHERE state = 'failed'),
        count(*) FILTER (WHERE state = 'cancelled'),
        min(run_s) FILTER (WHERE run_rank >= 0.5), min(run_s) FILTER (WHERE run_rank >= 0.95),
        min(wait_s) FILTER (WHERE wait_rank >= 0.5), min(wait_s) FILTER (WHERE wait_rank >= 0.95)
    FROM ranked GROUP BY queue ORDER BY queue
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Of a queue's jobs that ended since a time. `wait`: from submit to start; `run`: the last attempt."""

    queue: str
    succeeded: int
    failed: int
    cancelled: int
    run_p50_s: float | None
    run_p95_s: float | None
    wait_p50_s: float | None
    wait_p95_s: float | None


def queue_stats(row: tuple[Any, ...]) -> QueueStats:
    """From a row of ENDED_SQL."""
    return QueueStats(*row)
