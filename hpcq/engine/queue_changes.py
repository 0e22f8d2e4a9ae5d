"""Pausing, resuming and scaling a queue, by somebody's request or by its runner's."""

from types import EllipsisType
from typing import TYPE_CHECKING

import orjson

from hpcq.core.events import QueueChanged
from hpcq.engine.messages import ChangeQueue
from hpcq.engine.round import Gathering
from hpcq.engine.spawned import spawn
from hpcq.store.rows import EventRow, QueueRow

if TYPE_CHECKING:
    from hpcq.engine.engine import Engine


def apply(engine: "Engine", message: ChangeQueue, gathering: Gathering) -> None:
    """Change the queue's live settings, and tell the core."""
    lane = engine.lanes[message.queue]
    before = engine.live_settings.get(message.queue) or QueueRow(message.queue, None, "", None)
    was_paused = lane.config.paused if before.paused is None else before.paused
    if message.by_runner and not _counts(message, before, was_paused):
        return
    paused = before.paused if message.paused is None else message.paused
    reason = message.reason if message.paused is not None else before.paused_reason
    slots = before.slots if isinstance(message.slots, EllipsisType) else message.slots
    row = QueueRow(message.queue, paused, reason if paused else "", slots)
    engine.live_settings[message.queue] = row
    gathering.rest.queues.append(row)
    detail = orjson.dumps({"paused": bool(paused), "slots": slots})
    gathering.rest.notes.append(EventRow(0, gathering.now.wall, "queue.changed", queue=message.queue, detail=detail))
    widened = engine.floor.widen(message.queue, slots)
    if widened is not None:
        gathering.add(engine.core.handle(widened, gathering.now))
    gathering.add(engine.core.handle(QueueChanged(engine.settings_of(lane)), gathering.now))
    if was_paused and message.paused is False and not lane.health.ready:
        spawn(lane.ask_health(), f"health of {lane.name}")  # what it lacked may be mended: somebody thinks so


def _counts(message: ChangeQueue, before: QueueRow, was_paused: bool) -> bool:
    """A runner neither takes over a pause of somebody else's, nor ends one."""
    if message.paused:
        return not was_paused  # what is paused already is not written again
    return was_paused and before.paused_reason == message.reason
