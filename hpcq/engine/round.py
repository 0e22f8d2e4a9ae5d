"""One round's changes, gathered from the core's effects until they are committed in one transaction."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import orjson

from hpcq.core.effects import Effect, Recall, Save, Start, Stop
from hpcq.core.job import FINAL, ErrorType, Moment, State
from hpcq.engine.attempt import Attempt
from hpcq.engine.messages import Ended
from hpcq.engine.slices import SLICE, let_go
from hpcq.engine.testcases import believed, merged, result_of, to_json
from hpcq.plugin import Outcome
from hpcq.store.rows import AttemptRow, CaseRow, NewRow, Round, SaveRow, VerdictsRow

Acting = Start | Stop | Recall
FAILING = ("job.failed", "job.retrying")  # after these a job shows its attempt's error; not after a cancel or a drain


def _json(value: Any) -> bytes | None:
    return None if value is None else orjson.dumps(value)


def error_json(save: Save, outcome: Outcome | None) -> bytes | None:
    """The job's `error`: the core's verdict, else the outcome's."""
    if save.error is not None:
        verdict = {"type": save.error.type, "message": save.error.message, "exit_code": None, "signal": None}
        return None if save.error.about is not None else orjson.dumps(verdict)  # the store knows the id
    if outcome is None or outcome.error is None:
        return None
    error = outcome.error
    return orjson.dumps(
        {"type": error.type, "message": error.message, "exit_code": error.exit_code, "signal": error.signal}
    )


@dataclass(slots=True)
class Gathering:
    """What one round has come to so far."""

    now: Moment
    inserts: dict[int, NewRow] = field(default_factory=dict)
    saves: dict[int, SaveRow] = field(default_factory=dict)
    acting: list[Acting] = field(default_factory=list)
    rest: Round = field(init=False)

    def __post_init__(self) -> None:
        self.rest = Round(at=self.now.wall)

    def add(self, effects: list[Effect], ended: Ended | None = None) -> None:
        """Take what the core wants; `ended`: the attempt's end that brought it about."""
        for effect in effects:
            if isinstance(effect, Save):
                self._save(effect, ended if ended and ended.event.job == effect.job else None)
            else:
                self.acting.append(effect)

    def _save(self, save: Save, ended: Ended | None) -> None:
        before = self.saves.get(save.job)
        events = before.events if before else ()
        if save.event:
            events = (*events, save.event)
        row = SaveRow(save, events, self.now.wall)
        if ended is not None:
            row = _with_outcome(row, ended)
        elif save.state in FINAL or save.error is not None or save.event == "job.reopened":
            row = row._replace(keep=True, error=error_json(save, None))
        elif before is not None and before.keep:
            row = before._replace(save=save, events=events)
        self.saves[save.job] = row
        if save.attempt_ended:
            self._attempt(save, ended)

    def _attempt(self, save: Save, ended: Ended | None) -> None:
        outcome = ended.outcome if ended else None
        attempt: Attempt | None = ended.attempt if ended else None
        self.rest.attempts.append(
            AttemptRow(
                job=save.job,
                attempt=save.history.attempt,
                state=attempt_state(save, outcome),
                slot=attempt.slot.name if attempt else None,
                started_at=attempt.began_at if attempt else None,
                finished_at=self.now.wall,
                result=_json(outcome.result) if outcome else None,
                error=error_json(save, outcome),
                usage=_usage(outcome),
                output_bytes=attempt.output_bytes if attempt else 0,
                truncated=bool(attempt and attempt.truncated),
                tests=to_json(outcome.tests) if outcome and outcome.tests else None,
                commit=outcome.commit if outcome else None,
            )
        )
        if outcome and attempt and outcome.tests:
            over = save.error is not None and save.error.type is ErrorType.TIMEOUT  # it had all its time
            self._verdicts(attempt, outcome, stopped=attempt.stop_grace_s is not None and not over)

    def _verdicts(self, attempt: Attempt, outcome: Outcome, *, stopped: bool) -> None:
        tests = believed(outcome, stopped=stopped)
        rows = [CaseRow(t.id, t.title, t.file, t.line, t.status, t.duration_s, t.suite) for t in tests]
        row = VerdictsRow(attempt.job, attempt.org_id, outcome.commit, self.now.wall, tuple(rows))
        self.rest.verdicts.append(row)

    async def finished(self) -> Round:
        """The round as the writer takes it."""
        round_ = self.rest
        for count, (job, row) in enumerate(self.saves.items(), 1):
            if count % SLICE == 0:
                await asyncio.sleep(0)  # a large submit lets others be served
            new = self.inserts.get(job)
            if new is None:
                round_.saves.append(row)
            else:
                round_.inserts.append((new, row))
        round_.starts.extend(effect.job for effect in self.acting if isinstance(effect, Start))
        return round_

    async def let_go(self) -> None:
        """Free a large round in slices."""
        self.inserts.clear()
        self.saves.clear()
        await let_go(self.rest.inserts)

    @property
    def empty(self) -> bool:
        """Nothing to write."""
        rest = self.rest
        return not (
            self.saves
            or rest.edits
            or rest.keys
            or rest.handles
            or rest.queues
            or rest.notes
            or rest.schedules
            or rest.schedule_runs
        )


def _with_outcome(row: SaveRow, ended: Ended) -> SaveRow:
    outcome, save, attempt = ended.outcome, row.save, ended.attempt
    return row._replace(
        keep=True,
        result=_json(_result(attempt, outcome)) if save.state in FINAL else None,
        error=error_json(save, outcome if save.event in FAILING else None),
        usage=_usage(outcome),
        progress=_json(attempt.progress),
        artifacts=_json(ended.artifacts),
        started_at=attempt.began_at,
    )


def _result(attempt: Attempt, outcome: Outcome) -> Any:
    """The job's: of a test job the union of its attempts."""
    if not outcome.tests and not attempt.previous:
        return outcome.result
    return result_of(merged((*attempt.previous, outcome)), outcome.result)


def _usage(outcome: Outcome | None) -> bytes | None:
    usage = outcome.usage if outcome else None
    return orjson.dumps({"max_rss_mb": usage.max_rss_mb, "cpu_s": usage.cpu_s}) if usage else None


def attempt_state(save: Save, outcome: Outcome | None) -> str:
    """The state in which one attempt ended, as `/attempts` shows it."""
    if save.state is State.SUCCEEDED or save.state is State.CANCELLED:
        return save.state.value
    if save.error is not None or (outcome is not None and outcome.error is not None):
        return "failed"
    return "lost"
