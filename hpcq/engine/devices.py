"""Devices: slots whose runner says that there is one behind them."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from hpcq.config import ConfigError
from hpcq.engine.alarm import now
from hpcq.engine.errors import NotFound, Unavailable
from hpcq.engine.lane import Lane
from hpcq.plugin import Slot
from hpcq.store.rows import EventRow

if TYPE_CHECKING:
    from hpcq.engine.engine import Engine

READMIT_S = 30.0


def changes(queue: str, before: Iterable[Slot], after: Iterable[Slot], at: float) -> tuple[EventRow, ...]:
    """The events of what has become of a queue's devices."""
    was, now_ = _said(before), _said(after)
    gone = {name: {"state": "gone", "reason": "no longer one of the queue's devices"} for name in was.keys() - now_}
    news = {name: said for name, said in now_.items() if was.get(name) != said} | gone
    return tuple(
        EventRow(0, at, "device.changed", queue=queue, detail=orjson.dumps({"device": name, **said}))
        for name, said in sorted(news.items())
    )


def _said(slots: Iterable[Slot]) -> dict[str, dict[str, Any]]:
    return {slot.name: {"state": _state(slot), "reason": _reason(slot)} for slot in slots if slot.device is not None}


def _state(slot: Slot) -> str:
    return str((slot.device or {}).get("state") or slot.state)


def _reason(slot: Slot) -> str:
    return str((slot.device or {}).get("reason") or slot.reason)


def devices(engine: "Engine", org: str | None) -> list[dict[str, Any]]:
    """All devices, by queue and name; of other orgs' jobs only that there is one."""
    return [
        _shown(engine, queue, slot, org)
        for queue, slots in sorted(engine.floor.offered.items())
        for slot in slots
        if slot.device is not None
    ]


def device(engine: "Engine", org: str | None, name: str) -> dict[str, Any]:
    """One device. Raises NotFound."""
    found = [one for one in devices(engine, org) if one["name"] == name]
    if not found:
        names = ", ".join(one["name"] for one in devices(engine, org)) or "none"
        raise NotFound(f"there is no device {name}; there are: {names}")
    return found[0]


def _shown(engine: "Engine", queue: str, slot: Slot, org: str | None) -> dict[str, Any]:
    place = next((each for each in engine.core.queue_view(queue, now()).slots if each.name == slot.name), None)
    job = None if place is None else place.job
    attempt = None if job is None else engine.floor.live.get(job)
    return {
        **(slot.device or {}),
        "name": slot.name,
        "queue": queue,
        "state": "busy" if job is not None and slot.state == "ready" else _state(slot),
        "reason": _reason(slot),
        "labels": dict(slot.labels),
        "job": attempt.job_id if attempt is not None and org in (None, attempt.org_id) else None,
        "session_key": place.session_key if place else None,
    }


async def readmit(engine: "Engine", name: str) -> None:
    """Somebody says that a device is fit again: its runner tries it. Raises NotFound, Unavailable."""
    lane = engine.lanes[device(engine, None, name)["queue"]]
    runner = lane.runner
    if runner is None:
        raise Unavailable(f"the runner of queue {lane.name} cannot run jobs: {lane.health.message}", 30.0)
    try:
        await lane.call(lambda: runner.readmit(name), READMIT_S, "readmit")
    except Exception as error:
        raise Unavailable(f"device {name} cannot be tried: {error}", 30.0) from None
    await asyncio.sleep(0)  # what the runner has just offered is taken


def check_one_queue(lanes: Iterable[Lane]) -> None:
    """What belongs to one queue (`one_queue` in the settings' schema) is named by no two. Raises ConfigError."""
    holders: dict[tuple[str, str, str], str] = {}
    problems = []
    for lane in lanes:
        for field, value in _owned(lane):
            first = holders.setdefault((lane.runner_name, field, value), lane.name)
            if first != lane.name:
                problems.append(
                    f"queues.{lane.name}.{field}: {value} is also named by queues.{first}.{field}; "
                    "a device serves one queue: take it out of one of them"
                )
    if problems:
        raise ConfigError("\n".join(problems))


def _owned(lane: Lane) -> Iterable[tuple[str, str]]:
    if lane.settings is None:
        return
    for name, field in type(lane.settings).model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, Mapping) and extra.get("one_queue"):
            yield from ((name, str(value)) for value in getattr(lane.settings, name))
