"""A small world around the core: it feeds events, keeps what would be on disk, and checks every step."""

from collections.abc import Iterable
from typing import Any

from hpcq.core.effects import Effect, Recall, Save, Start, Stop
from hpcq.core.events import (
    Cancelled,
    Event,
    Finished,
    QueueChanged,
    Recalled,
    SlotsOffered,
    Started,
    Submitted,
    Ticked,
)
from hpcq.core.explain import Explanation
from hpcq.core.job import FINAL, TRANSITIONS, ErrorType, Moment, NewJob, QueueSettings, Slot, State, Treatment
from hpcq.core.scheduler import Scheduler
from tests.support.invariants import check, check_assigned

NEW_JOB = ("history", "run_at", "expires_at", "depends_on", "state")


class World:
    """One core, one clock, queues named by the test; `q` where none is named."""

    def __init__(
        self, totals: dict[str, float] | None = None, items: dict[str, tuple[str, ...]] | None = None, *, slots: int = 0
    ) -> None:
        self.scheduler = Scheduler(totals or {}, items)
        self.now = Moment(1000.0, 50.0)
        self.saved: dict[int, Save] = {}  # the last of each job
        self.events: dict[int, list[str]] = {}
        self.starts: list[Start] = []
        self.stops: list[Stop] = []
        self.recalls: list[Recall] = []
        self.last_job = 0
        if slots:
            self.queue("q", slots)

    # What is sent

    def send(self, event: Event) -> list[Effect]:
        """One event, by itself."""
        effects = self.scheduler.handle(event, self.now)
        self._keep(effects)
        check(self.scheduler)
        return effects

    def round(self) -> list[Effect]:
        """The end of a round, and its commit."""
        effects = self.scheduler.assign(self.now)
        self._keep(effects)
        check_assigned(self.scheduler)
        self.scheduler.committed()
        return effects

    def queue(self, name: str, slots: int | Iterable[Slot], /, **settings: Any) -> None:
        """A queue and its slots, `name-1` and so on."""
        self.send(QueueChanged(QueueSettings(name, **settings)))
        offered = [Slot(f"{name}-{n + 1}") for n in range(slots)] if isinstance(slots, int) else slots
        self.send(SlotsOffered(name, tuple(offered)))

    def job(self, queue: str = "q", **asked: Any) -> NewJob:
        """A new job; whatever is no field of NewJob is one of its Treatment."""
        self.last_job += 1
        own = {name: asked.pop(name) for name in NEW_JOB if name in asked}
        return NewJob(self.last_job, Treatment(queue, **asked), **own)

    def submit(self, queue: str = "q", **asked: Any) -> int:
        """One new job."""
        new = self.job(queue, **asked)
        self.send(Submitted((new,)))
        return new.job

    def many(self, n: int, queue: str = "q", **asked: Any) -> list[int]:
        """Some equal jobs."""
        new = tuple(self.job(queue, **asked) for _ in range(n))
        self.send(Submitted(new))
        return [each.job for each in new]

    def started(self, job: int) -> None:
        """Its newest attempt has begun."""
        self.send(Started(job, self.attempt(job)))

    def finish(self, job: int, failure: ErrorType | None = None, **outcome: Any) -> list[Effect]:
        """Its newest attempt is over."""
        return self.send(Finished(job, self.attempt(job), failure, **outcome))

    def run(self, job: int, failure: ErrorType | None = None, **outcome: Any) -> None:
        """Its newest attempt begins and ends, and the round after it."""
        self.started(job)
        self.finish(job, failure, **outcome)
        self.round()

    def recalled(self, job: int) -> None:
        """It is given back."""
        self.send(Recalled(job, self.attempt(job)))

    def cancel(self, job: int) -> None:
        """Somebody cancels it."""
        self.send(Cancelled(job))

    def later(self, seconds: float) -> None:
        """Time passes on both clocks, and is noticed."""
        self.now = Moment(self.now.wall + seconds, self.now.mono + seconds)
        self.send(Ticked())
        self.round()

    def drain_queue(self) -> list[int]:
        """Run everything that can run, one after the other, in the order in which slots were given."""
        order: list[int] = []
        starts = [effect for effect in self.round() if isinstance(effect, Start)]
        while starts:
            start = starts.pop(0)
            order.append(start.job)
            self.started(start.job)
            self.finish(start.job)
            starts += [effect for effect in self.round() if isinstance(effect, Start)]
        return order

    # What is seen

    def attempt(self, job: int) -> int:
        """The number of its newest attempt."""
        return self.saved[job].history.attempt

    def state(self, job: int) -> State:
        """What would be on disk, which is what the core says, or final."""
        state = self.saved[job].state
        known = self.scheduler.state_of(job)
        assert known is state or (known is None and state in FINAL), f"job {job} is {known}, saved as {state}"
        return state

    def states(self, jobs: Iterable[int]) -> list[str]:
        """The states of some jobs."""
        return [str(self.state(job)) for job in jobs]

    def running(self, queue: str = "q") -> dict[str, list[int]]:
        """What each busy slot holds: first the job that has it, then the claims."""
        view = self.scheduler.queue_view(queue, self.now)
        return {slot.name: [slot.job, *slot.claims] for slot in view.slots if slot.job is not None}

    def explain(self, job: int) -> Explanation:
        """Why it stands where it stands."""
        explanation = self.scheduler.explain(job, self.now)
        assert explanation is not None
        return explanation

    def codes(self, job: int) -> list[str]:
        """The codes of its reasons, the decisive one first."""
        return [reason.code for reason in self.explain(job).reasons]

    def _keep(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Save):
                self._save(effect)
            elif isinstance(effect, Start):
                assert self.saved[effect.job].state is State.STARTING, "a start goes before its save"
                self.starts.append(effect)
            elif isinstance(effect, Stop):
                assert self.saved[effect.job].stop is effect.reason, "a stop goes before its save"
                self.stops.append(effect)
            else:
                self.recalls.append(effect)

    def _save(self, save: Save) -> None:
        before = self.saved.get(save.job)
        if before is not None and save.event != "job.reopened" and before.state is not save.state:
            assert save.state in TRANSITIONS[before.state], f"job {save.job}: {before.state} became {save.state}"
        if before is not None:
            assert save.history.attempt >= before.history.attempt - 1
        self.saved[save.job] = save
        if save.event is not None:
            self.events.setdefault(save.job, []).append(save.event)


def short_work(slots: int = 1, ahead: int = 4, run_s: float = 0.001, **settings: Any) -> World:
    """A queue of work that is known to be short; its last slot is idle, the others were never used."""
    world = World({"cpus": 2, "gpu": 1})
    world.queue("q", slots, ahead=ahead, **settings)
    job = world.submit()
    world.round()
    world.started(job)
    world.finish(job, run_s=run_s)
    world.starts.clear()
    return world
