"""One action on all jobs that a filter finds, in slices, so that others are served in between."""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Literal

from hpcq.core.job import FINAL, State
from hpcq.engine.errors import Conflict, NotFound
from hpcq.engine.spec import JobPatch
from hpcq.store.filter import Filter

if TYPE_CHECKING:
    from hpcq.engine.engine import Engine

SLICE = 500
Action = Literal["cancel", "retry", "patch"]


async def act(engine: "Engine", org: str | None, action: Action, wanted: Filter, patch: JobPatch | None) -> int:
    """Cancel, retry or patch what `wanted` finds; how many there were.

    A job that is not in a state in which it can be done (or is not any more) is passed over.
    """
    count, after = 0, 0
    while rows := await engine.writer.matching(wanted, after, SLICE, org=org):
        after = rows[-1].job
        fitting = [row.id for row in rows if _fits(action, row.state)]
        done = await asyncio.gather(*(_done(_one(engine, org, action, job_id, patch)) for job_id in fitting))
        count += sum(done)
    return count


def _fits(action: Action, state: State) -> bool:
    return (state in FINAL) == (action == "retry")


def _one(
    engine: "Engine", org: str | None, action: Action, job_id: str, patch: JobPatch | None
) -> Coroutine[Any, Any, None]:
    if action == "cancel":
        return engine.cancel(org, job_id)
    if action == "retry":
        return engine.retry(org, job_id)
    return engine.edit(org, job_id, patch or JobPatch())


async def _done(work: Coroutine[Any, Any, None]) -> bool:
    try:
        await work
    except (Conflict, NotFound):  # it has ended, or was pruned, since it was found
        return False
    return True
