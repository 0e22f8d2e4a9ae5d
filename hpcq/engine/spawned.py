"""Background work on the loop: kept by a reference, or it is collected; and never lost without a word."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
log = logging.getLogger("hpcq")
_alive: set[asyncio.Task[Any]] = set()


def spawn(work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Run `work` in the background; an exception that nobody awaits is logged."""
    running = asyncio.get_running_loop().create_task(work, name=name)
    _alive.add(running)
    running.add_done_callback(_done)
    return running


def _done(ended: asyncio.Task[Any]) -> None:
    _alive.discard(ended)
    if not ended.cancelled() and (error := ended.exception()):
        log.debug("%s ended with %r", ended.get_name(), error)
