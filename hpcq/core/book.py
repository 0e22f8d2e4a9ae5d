"""Where every unfinished job stands: in exactly one place. Here they change places, and nowhere else."""

from collections.abc import Mapping

from hpcq.core.capacity import Capacity
from hpcq.core.dependencies import Dependencies
from hpcq.core.effects import Effect, Save
from hpcq.core.groups import Kind
from hpcq.core.job import FRESH, TRANSITIONS, Error, History, Moment, QueueSettings, State, Treatment
from hpcq.core.queues import Active, Queue
from hpcq.core.timers import Timers

KINDS = 1024  # so many treatments that no job has are always borne


def check(job: int, old: State, new: State) -> None:
    """A change that the table does not know is a mistake of ours."""
    assert new in TRANSITIONS[old], f"job {job} cannot go from {old} to {new}"


class Book:
    """All that the core remembers."""

    def __init__(self, totals: Mapping[str, float], items: Mapping[str, tuple[str, ...]]) -> None:
        self.now = Moment(0.0, 0.0)
        self.out: list[Effect] = []
        self.draining = False
        self.queues: dict[str, Queue] = {}
        self.capacity = Capacity(totals, items)
        self.deps = Dependencies()
        self.queued: dict[int, Kind] = {}
        self.blocked: dict[int, Kind] = {}
        self.delayed: dict[int, Kind] = {}
        self.active: dict[int, Active] = {}
        self.histories: dict[int, History] = {}  # of waiting jobs that are not fresh
        self.run_at: dict[int, float] = {}  # of blocked jobs
        self.avoid: dict[int, str] = {}  # waiting job -> the slot that failed it
        self.delays = Timers()  # wall
        self.expiries = Timers()  # wall
        self.timeouts = Timers()  # monotonic
        self.leases = Timers()  # monotonic
        self.ticked = 0.0  # monotonic: when time was last looked at, while there were leases
        self.kinds: dict[Treatment, Kind] = {}
        self.kinds_by_id: dict[int, Kind] = {}  # id of a treatment that its kind keeps alive: saves hashing it
        self.unheld = 0  # times that a kind lost its last job, since the last sweep
        self.unheld_max = KINDS

    # Queues and kinds

    def queue(self, name: str) -> Queue:
        """The queue of that name; one that was never heard of has no slots, and its jobs wait."""
        queue = self.queues.get(name)
        if queue is None:
            queue = self.queues[name] = Queue(QueueSettings(name), self.queued)
        return queue

    def kind(self, treatment: Treatment) -> Kind:
        """What jobs that are treated so share."""
        kind = self.kinds_by_id.get(id(treatment)) or self.kinds.get(treatment)
        if kind is None:
            kind = Kind(treatment, self.queue(treatment.queue).levels.group(treatment))
            self.kinds[treatment] = kind
            self.kinds_by_id[id(treatment)] = kind
        return kind

    def drop(self, kind: Kind) -> None:
        """One job less is of this kind."""
        kind.held -= 1
        if kind.held:
            return
        self.unheld += 1
        if self.unheld > self.unheld_max:
            self.kinds = {each.treatment: each for each in self.kinds.values() if each.held}
            self.kinds_by_id = {id(each.treatment): each for each in self.kinds.values()}
            self.unheld = 0
            self.unheld_max = max(KINDS, len(self.kinds))

    # Jobs that wait

    def knows(self, job: int) -> bool:
        """Whether the job is unfinished."""
        return job in self.queued or job in self.active or job in self.blocked or job in self.delayed

    def waiting(self, job: int) -> Kind | None:
        """The kind of a job that waits; None: it does not."""
        return self.queued.get(job) or self.delayed.get(job) or self.blocked.get(job)

    def state_of(self, job: int) -> State | None:
        """Where the job stands; None: it is final, or never came."""
        if job in self.queued:
            return State.QUEUED
        if job in self.active:
            return self.active[job].state
        if job in self.blocked:
            return State.BLOCKED
        return State.DELAYED if job in self.delayed else None

    def enqueue(self, job: int, kind: Kind) -> None:
        """The job waits for a slot."""
        group = kind.group
        if group.gone:
            group = kind.group = self.queue(kind.treatment.queue).levels.group(kind.treatment)
        self.queued[job] = kind
        group.add(job)

    def delay(self, job: int, kind: Kind, due: float) -> None:
        """The job waits for a time."""
        self.delayed[job] = kind
        self.delays.set(job, due)
        self.queue(kind.treatment.queue).delayed += 1

    def block(self, job: int, kind: Kind, run_at: float | None) -> None:
        """The job waits for others; `deps` knows for which."""
        self.blocked[job] = kind
        if run_at is not None:
            self.run_at[job] = run_at
        self.queue(kind.treatment.queue).blocked += 1

    def unwait(self, job: int) -> Kind:
        """The waiting job is taken from where it stands, and must be put elsewhere or ended."""
        kind = self.queued.pop(job, None)
        if kind is not None:
            kind.group.remove(job)
            return kind
        kind = self.delayed.pop(job, None)
        if kind is not None:
            self.delays.drop(job)
            self.queue(kind.treatment.queue).delayed -= 1
            return kind
        kind = self.blocked.pop(job)
        self.deps.leave(job)
        self.run_at.pop(job, None)
        self.queue(kind.treatment.queue).blocked -= 1
        return kind

    def put(
        self,
        job: int,
        kind: Kind,
        history: History,
        event: str | None,
        *,
        due: float | None = None,
        error: Error | None = None,
        attempt_ended: bool = False,
        saved: State | None = None,
    ) -> None:
        """Place a job that waits for no other, `delayed` or `queued`, and save that unless it is `saved` already."""
        if history is not FRESH and history != FRESH:
            self.histories[job] = history
        if due is not None and due > self.now.wall:
            state = State.DELAYED
            self.delay(job, kind, due)
        else:
            state, due = State.QUEUED, None
            self.enqueue(job, kind)
        if state is not saved:
            self.out.append(Save(job, state, history, event, due, None, None, error, attempt_ended))

    def reblock(self, job: int, kind: Kind, run_at: float | None) -> None:
        """A blocked job is of another kind from now on."""
        self.queue(self.blocked[job].treatment.queue).blocked -= 1
        self.run_at.pop(job, None)
        self.block(job, kind, run_at)

    # Jobs that have a slot, and jobs that end

    def live(self, job: int, attempt: int) -> Active | None:
        """The live attempt of that number; a message about any other changes nothing."""
        active = self.active.get(job)
        return active if active is not None and active.history.attempt == attempt else None

    def finish(self, job: int, kind: Kind, state: State) -> None:
        """The job, taken from where it stood, is final."""
        self.histories.pop(job, None)
        self.avoid.pop(job, None)
        self.expiries.drop(job)
        self.drop(kind)
        self.deps.end(job, state)

    def end_waiting(self, job: int, state: State, event: str, error: Error | None = None) -> None:
        """A waiting job is final without another attempt."""
        old = self.state_of(job)
        assert old is not None
        check(job, old, state)
        history = self.histories.get(job, FRESH)
        self.finish(job, self.unwait(job), state)
        self.out.append(Save(job, state, history, event, error=error))
