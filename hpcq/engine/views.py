"""What clients see of queues, runners, reasons and health."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpcq.core.explain import Explanation
from hpcq.core.job import FINAL, WAITING
from hpcq.engine.alarm import now
from hpcq.engine.errors import NotFound
from hpcq.engine.lane import Lane
from hpcq.engine.registry import Found
from hpcq.engine.times import timestamp
from hpcq.store.filter import Filter
from hpcq.store.rows import JobRow

if TYPE_CHECKING:
    from hpcq.engine.engine import Engine


class Views:
    """Reads of the engine's state. Nothing here changes anything."""

    def __init__(self, engine: "Engine", found: Mapping[str, Found]) -> None:
        self._engine = engine
        self._found = found
        self._since = now().mono

    # Queues.

    async def queues(self) -> list[dict[str, Any]]:
        """All queues, by name."""
        return [await self.queue(name) for name in sorted(self._engine.lanes)]

    async def queue(self, name: str) -> dict[str, Any]:
        """One queue: its settings, counts by state, and slots. Raises NotFound."""
        engine = self._engine
        lane = engine.lanes.get(name)
        if lane is None:
            raise NotFound(f"there is no queue {name}; there are {', '.join(sorted(engine.lanes))}")
        settings = engine.settings_of(lane)
        view = engine.core.queue_view(name, now())
        counts = await engine.reader.summary(None, Filter(queues=(name,)))
        waiting = Filter(states=tuple(WAITING), queues=(name,))
        oldest, _ = await engine.reader.jobs(None, waiting, 1, ascending=True)
        return {
            "name": name,
            "runner": lane.runner_name,
            "ready": lane.health.ready,
            "message": lane.health.message,
            "slots": sum(slot.state != "leaving" for slot in view.slots),
            "file_slots": lane.config.slots,
            "slots_changed": bool((row := engine.live_settings.get(name)) and row.slots is not None),
            "paused": settings.paused,
            "paused_reason": settings.paused_reason,
            "counts": counts,
            "batch_size": lane.config.batch_size,
            "lease_s": lane.config.lease_s,
            "timeout_s": lane.timeout_s,
            "oldest_wait_s": round(max(0.0, now().wall - oldest[0].created_at), 3) if oldest else None,
            "slot_list": [
                {
                    "name": slot.name,
                    "labels": dict(slot.labels),
                    "state": slot.state,
                    "job": self._public(slot.job),
                    "session_key": slot.session_key,
                }
                for slot in view.slots
            ],
        }

    def _public(self, job: int | None) -> str | None:
        attempt = None if job is None else self._engine.floor.live.get(job)
        return attempt.job_id if attempt else None

    # Reasons.

    async def explain(self, org: str | None, job_id: str) -> dict[str, Any]:
        """Every reason why a job is not running. Raises NotFound."""
        engine = self._engine
        row = await engine.reader.job(org, job_id)
        if row is None:
            raise NotFound(f"there is no job {job_id}")
        explanation = engine.core.explain(row.job, now())
        if row.state in FINAL or explanation is None:
            return {
                "job": job_id,
                "state": row.state,
                "reasons": [_final(row)],
                "estimated_start": None,
                "suggestions": [],
            }
        return await self._explained(org, job_id, explanation)

    async def _explained(self, org: str | None, job_id: str, explanation: Explanation) -> dict[str, Any]:
        holders = sorted({job for reason in explanation.reasons for job in reason.holders})
        known = await self._engine.reader.public_ids(org, holders)
        reasons = []
        for reason in explanation.reasons:
            shown = [known[job] for job in reason.holders if job in known]
            reasons.append(
                {
                    "code": reason.code,
                    "message": reason.message,
                    "holders": shown,
                    "others": len(reason.holders) - len(shown),
                    "until": timestamp(reason.until),
                }
            )
        return {
            "job": job_id,
            "state": explanation.state,
            "reasons": reasons,
            "estimated_start": timestamp(explanation.estimated_start),
            "suggestions": list(explanation.suggestions),
        }

    # Runners and health.

    def runners(self) -> list[dict[str, Any]]:
        """All installed runners, the broken ones too, with the queues that use them."""
        return [self._runner(found) for _, found in sorted(self._found.items())]

    def _runner(self, found: Found) -> dict[str, Any]:
        lanes = [lane for lane in self._engine.lanes.values() if lane.runner_name == found.name]
        problems = [found.problem] if found.problem else _in_queues(lanes)
        return {
            "name": found.name,
            "distribution": found.distribution,
            "version": found.version,
            "api_version": found.runner.API_VERSION if found.runner else None,
            "isolated": found.foreign,
            "queues": sorted(lane.name for lane in lanes),
            "ready": not problems,
            "message": "; ".join(problems),
        }

    def health(self) -> dict[str, Any]:
        """The server's health with its parts; `accepting` is False when no job can be taken."""
        engine = self._engine
        queues = {name: self._queue_health(lane) for name, lane in sorted(engine.lanes.items())}
        accepting = not (engine.full or engine.draining or engine.fatal.done())
        store = "the disk is full" if engine.full else "stopping after an error" if engine.fatal.done() else ""
        broken = [part for part in queues.values() if part["status"] == "degraded"]
        parts: dict[str, Any] = {
            "store": {"status": "degraded" if store else "ok", "message": store},
            "queues": queues,
            "runners": {
                found.name: {"status": "degraded", "message": found.problem}
                for found in self._found.values()
                if found.problem
            },
        }
        if engine.draining:
            parts["server"] = {"status": "degraded", "message": "draining: nothing starts any more"}
        good = accepting and not broken and not parts["runners"]
        return {"status": "ok" if good else "degraded", "accepting": accepting, "parts": parts}

    async def stats(self) -> dict[str, Any]:
        """Figures of the whole server."""
        engine = self._engine
        counts = await engine.reader.summary(None, Filter())
        return {
            "jobs": counts,
            "unfinished": engine.core.unfinished,
            "live_attempts": len(engine.floor.live),
            "listeners": engine.hub.listeners,
            "last_seq": await engine.reader.last_seq(),
            "uptime_s": round(now().mono - self._since, 3),
        }

    def _queue_health(self, lane: Lane) -> dict[str, Any]:
        if not lane.health.ready:
            status = "degraded" if lane.name in self._engine.used else "unused"
            return {"status": status, "message": lane.health.message}
        settings = self._engine.settings_of(lane)
        if settings.paused:
            return {"status": "paused", "message": settings.paused_reason or "paused"}
        return {"status": "ok" if lane.name in self._engine.used else "unused", "message": lane.health.message}


def _in_queues(lanes: Sequence[Lane]) -> list[str]:
    """What is wrong in which of a runner's queues."""
    queues: dict[str, list[str]] = {}
    for lane in lanes:
        if not lane.health.ready:
            queues.setdefault(lane.health.message, []).append(lane.name)
    return [
        f"queue{'s' if len(names) > 1 else ''} {', '.join(sorted(names))}: {message}"
        for message, names in queues.items()
    ]


def _final(row: JobRow) -> dict[str, Any]:
    ended = f"{row.state} at {timestamp(row.finished_at)}" if row.finished_at else f"{row.state}"
    return {"code": "final", "message": ended, "holders": [], "others": 0, "until": None}


def configured_queues(lanes: Sequence[Lane], builtin: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """The queues that the configuration names, rather than those that exist without one."""
    return frozenset(
        lane.name
        for lane in lanes
        if lane.name not in builtin or type(lane.config)(**builtin[lane.name]) != lane.config
    )
