"""One action on all jobs that a filter finds, in slices, so that others are served in between."""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Literal

from hpcq.core.job import FINAL, State
from hpcq.engine.errors import BadSpec, Conflict, FieldError, NotFound
from hpcq.engine.spec import JobPatch
from hpcq.store.filter import Filter

if TYPE_CHECKING:
    from hpcq.engine.engine import Engine

SLICE = 500
Action = Literal["cancel", "retry", "patch"]


async def act(engine: "Engine", org: str | None, action: Action, wanted: Filter, patch: JobPatch | None) -> int:
    """Cancel, retry or patch what `wanted` finds; how many there were.

    A job that is not in a state in which it can be done (or is not any more) is passed over, and so is one that cannot
    be as the patch wants it. Raises BadSpec, before anything is changed, for a patch that no job could take.
    """
    if patch is not None:
        _refuse_impossible(engine, wanted, patch)
    count, after = 0, 0
    while rows := await engine.writer.matching(wanted, after, SLICE, org=org):
        after = rows[-1].job
        fitting = [row.id for row in rows if _fits(action, row.state)]
        done = await asyncio.gather(*(_done(_one(engine, org, action, job_id, patch)) for job_id in fitting))
        count += sum(done)
    return count


def _refuse_impossible(engine: "Engine", wanted: Filter, patch: JobPatch) -> None:
    """What can never be had in any queue that the filter leaves."""
    lanes = [lane for name, lane in engine.lanes.items() if not wanted.queues or name in wanted.queues]
    refused: dict[str, str] = {}
    for lane in lanes:
        treatment = engine.intake.treatment(patch, lane, wanted.org_id or "default", patch.batch_key)
        found = engine.core.refusals(treatment)
        refused = {place: text for place, text in found if place.split("/")[0] in patch.model_fields_set}
        if not refused:
            return
    if refused:
        raise BadSpec([FieldError(f"/patch/{place}", text) for place, text in refused.items()])


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
    except (Conflict, NotFound, BadSpec):  # it has ended, or was pruned, since it was found; or it cannot be so
        return False
    return True
