"""What can happen to a server, one small action at a time; one integer decides each, so that it can be repeated."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from hpcq.core import events as e
from hpcq.core.job import (
    FRESH,
    Dependency,
    ErrorType,
    History,
    Moment,
    NewJob,
    On,
    QueueSettings,
    RetryPolicy,
    Slot,
    StopReason,
    Treatment,
)
from tests.simulation.life import Life
from tests.simulation.restart import How, restart

T = TypeVar("T")
E = ErrorType
REMEMBERED = 60  # messages that may come again
NEAR = 12  # jobs back to which a new one may look
UNKNOWN = 10**9  # a job that never was


class Pick:
    """Choices from one integer: small ones give the first of everything."""

    def __init__(self, n: int) -> None:
        self.n = n

    def sometimes(self) -> bool:
        """Every other time."""
        return self.of((True, False))

    def of(self, choices: Sequence[T]) -> T:
        """One of these."""
        self.n, index = divmod(self.n, len(choices))
        return choices[index]


def _treatments() -> dict[str, tuple[Treatment, ...]]:
    """What jobs of each queue may ask for. Some ask for what no slot has, or more than there is."""
    once, twice = RetryPolicy(max=1, backoff_s=2.0), RetryPolicy(max=2, backoff_s=0.0)
    firm = RetryPolicy(max=3, backoff_s=1.5, factor=3.0, max_backoff_s=9.0, jitter=False)
    cpu, cpus, gpu, many = (("cpus", 1.0),), (("cpus", 2.0),), (("cpus", 1.0), ("gpu", 1.0)), (("cpus", 9.0),)
    licence = (("licence", 1.0),)
    pixel, ipad = (("model", "pixel"),), (("model", "ipad"),)
    return {
        "fast": (
            Treatment("fast"),
            Treatment("fast", retries=twice),
            Treatment("fast", "b"),
            Treatment("fast", resources=cpu),
            Treatment("fast", resources=cpu, timeout_s=3.0),
            Treatment("fast", priority=10),
            Treatment("fast", "b", session_key="s"),
            Treatment("fast", priority=-10, resources=licence),
            Treatment("fast", resources=licence),
            Treatment("fast", resources=(("gpu", 1.0),)),
        ),
        "device": (
            Treatment("device", session_key="x"),
            Treatment("device", session_key="y", retries=once),
            Treatment("device", session_key="x", retries=firm, timeout_s=20.0),
            Treatment("device", session_key="z", requires=pixel),
            Treatment("device", requires=pixel, priority=10),
            Treatment("device", "b", session_key="y", requires=ipad),
            Treatment("device", session_key="y", priority=10, resources=cpu),
        ),
        "plain": (
            Treatment("plain", retries=once, timeout_s=6.0),
            Treatment("plain", "b", retries=firm),
            Treatment("plain", "c", resources=gpu),
            Treatment("plain", resources=gpu, priority=10),
            Treatment("plain", "b", resources=cpus, priority=20),
            Treatment("plain", resources=cpu, retries=twice),
            Treatment("plain", resources=many),
            Treatment("plain", resources=licence),
            Treatment("plain", retries=RetryPolicy(max=9, backoff_s=0.0)),
        ),
    }


TREATMENTS = _treatments()
QUEUES = {
    "fast": QueueSettings("fast", ahead=4, lease_s=10.0),
    "device": QueueSettings("device", batch_size=2, lease_s=30.0, grace_s=15.0),
    "plain": QueueSettings("plain", lease_s=8.0),
}
MODELS = ("pixel", "ipad")


def _some(pick: Pick, treatments: tuple[Treatment, ...]) -> tuple[Treatment, ...]:
    """All of them; or only a few, which then meet more often; or the plainest and those that need something scarce."""
    how = pick.of(("all", "few", "scarce"))
    first, second = pick.of(treatments), pick.of(treatments)
    if how == "few":
        return treatments[0], first, second
    return treatments if how == "all" else (treatments[0], *(each for each in treatments if each.resources))


def slots_of(queue: str, count: int, shift: int = 0) -> tuple[Slot, ...]:
    """A queue's slots; those of `device` have labels."""
    names = [f"{queue}-{n}" for n in (2, 10, 1, 3)][:count]
    if queue != "device":
        return tuple(Slot(name) for name in names)
    return tuple(Slot(name, (("model", MODELS[(n + shift) % 2]),)) for n, name in enumerate(names))


class Play:
    """A life, and all that can be done to it."""

    def __init__(self, mood: int = 0, *, inside: bool = True) -> None:
        """`mood`: which few kinds of jobs there are, how they like to end, and whether they take long."""
        self.life = Life(inside=inside)
        self.past: deque[e.Event] = deque(maxlen=REMEMBERED)
        self.last_job = 0
        pick = Pick(mood)
        queues = pick.of((("fast", "plain", "device"), ("fast",), ("fast", "plain"), ("device",), ("plain", "device")))
        self.fate = pick.of((None, None, None, E.INFRA, E.SIGNAL, E.EXIT))
        self.slow = pick.of((False, False, False, True))
        self.cast = {queue: _some(pick, TREATMENTS[queue]) for queue in queues}
        for name, settings in QUEUES.items():
            self.life.queue(settings, slots_of(name, 2))

    # Clients.

    def submit(self, n: int) -> None:
        """One new job, or some."""
        pick = Pick(n)
        new: list[NewJob] = []
        for _ in range(pick.of((1, 1, 2, 5))):
            treatment = pick.of(self.cast[pick.of(tuple(self.cast))])
            if pick.of((False, True)):
                treatment = replace(treatment)  # equal, but another object
            wall = self.life.now.wall
            run_at = pick.of((None, None, None, None, wall + 4.0, wall - 1.0))
            expires_at = pick.of((None, None, None, None, None, wall + 3.0, wall + 30.0))
            needs = [self._dependency(pick, new) for _ in range(pick.of((0, 0, 0, 1, 2)))]
            depends_on = tuple(need for need in needs if need is not None)
            self.last_job += 1
            new.append(NewJob(self.last_job, treatment, FRESH, run_at, expires_at, depends_on))
        self.life.send(e.Submitted(tuple(new)))

    def _dependency(self, pick: Pick, new: list[NewJob]) -> Dependency | None:
        """On a recent job, or an earlier one of the same array. What had ended before this round is known."""
        ledger = self.life.ledger
        jobs = [*(each.job for each in reversed(new)), *list(reversed(ledger.rows))[:NEAR]]
        if not jobs:
            return None
        job = pick.of(jobs)
        row = ledger.on_disk(job)
        return Dependency(job, pick.of(tuple(On)), row.state if row is not None and row.final else None)

    def cancel(self, n: int) -> None:
        """End a job; some are final, or never were."""
        pick = Pick(n)
        jobs = [*list(reversed(self.life.ledger.open))[:NEAR], *list(self.life.bench.lives), UNKNOWN]
        self.life.send(e.Cancelled(pick.of(jobs)))

    def edit(self, n: int) -> None:
        """Treat an unfinished job otherwise."""
        pick = Pick(n)
        jobs = [row.job for row in self.life.ledger.unfinished() if self.life.ledger.on_disk(row.job) is not None]
        live = [job for job in jobs if job in self.life.bench.lives]
        if jobs:
            row = self.life.ledger.on_disk(pick.of(live if live and pick.sometimes() else jobs))
            assert row is not None
            treatment = pick.of(TREATMENTS[row.treatment.queue])
            wall = self.life.now.wall
            run_at = pick.of((row.run_at, None, wall + 6.0, wall + 1.0))
            self.life.send(e.Edited(row.job, treatment, run_at, pick.of((row.expires_at, None, wall + 8.0))))

    def reopen(self, n: int) -> None:
        """A job that was final before this round runs again."""
        ledger = self.life.ledger
        jobs = [job for job, row in ledger.rows.items() if row.final and (was := ledger.on_disk(job)) and was.final]
        if jobs:
            row = ledger.rows[Pick(n).of(list(reversed(jobs)))]
            history = History(row.history.attempt, reopened=row.history.reopened + 1)
            self.life.send(e.Reopened(NewJob(row.job, row.treatment, history)))

    # Slots and their messages.

    def begin(self, n: int) -> None:
        """A slot's attempt begins, or its next one is handed over."""
        pick, floor = Pick(n), self.life.floor
        if busy := floor.busy():
            where = pick.of(busy)
            floor.begin(where, self.life.now.wall)
            if pick.of((False, False, True)):
                floor.hand(where)

    def end(self, n: int) -> None:
        """A slot's attempt ends in some way."""
        pick = Pick(n)
        if busy := self.life.floor.busy():
            self.life.floor.end(pick.of(busy), self._outcome(pick))

    def _outcome(self, pick: Pick) -> e.Finished:
        failure = pick.of((*[None] * 6, *[E.SIGNAL] * 4, *[E.INFRA] * 2, E.EXIT, E.EXCEPTION, E.REJECTED, E.OOM))
        if self.fate is not None and pick.of((True, True, False)):
            failure = self.fate
        died = failure is E.SIGNAL and pick.of((True, True, True, False))
        lost = failure is E.INFRA and pick.of((True, False))
        after_s = pick.of((None, None, None, 3.0)) if failure else None
        run_s = 2.0 if self.slow else pick.of((0.001, 0.002, 0.001, None))
        return e.Finished(0, 0, failure, after_s, pick.of((0.0, 0.25, 0.5, 0.99)), died, lost, run_s)

    def race(self, n: int) -> None:
        """A slot's attempt ends, and the next begins before anybody has heard of that."""
        pick = Pick(n)
        if busy := self.life.floor.busy():
            where = pick.of(busy)
            self.life.floor.begin(where, self.life.now.wall)
            self.life.floor.end(where, self._outcome(pick))
            self.life.floor.begin(where, self.life.now.wall)

    def bustle(self, n: int) -> None:
        """Every slot goes on: attempts begin, most of them end, and all of it is heard of."""
        pick, floor = Pick(n), self.life.floor
        for where in floor.busy():
            floor.begin(where, self.life.now.wall)
            if pick.of((True, True, False)):
                floor.end(where, self._outcome(pick))
        for _ in range(len(floor.letters())):
            self.deliver(pick.n)
            self.deliver(0)
        self.life.round()

    def deliver(self, n: int) -> None:
        """A message comes in; sometimes one from behind a claim overtakes."""
        pick, floor = Pick(n), self.life.floor
        letters = floor.letters()
        if not letters:
            return
        where = pick.of(letters)
        mail = floor.mail[where]
        if len(mail) > 1 and pick.of((False, False, True)):
            _swap(mail)
        self.past.append(mail[0])
        self.life.deliver(where)

    def stale(self, n: int) -> None:
        """A message that means no live attempt, or says what is known: nothing comes of it."""
        pick, bench = Pick(n), self.life.bench
        kind = pick.of(("again", "old", "unasked", "unknown"))
        if kind == "again" and self.past:
            message = pick.of(list(reversed(self.past)))
            live = bench.live(message.job, message.attempt)  # type: ignore[union-attr, arg-type]
            if live is None or isinstance(message, e.Started | e.Renewed):
                self.life.send(message)
            return
        unasked = [live for live in bench.lives.values() if not live.recalling]
        if kind == "unasked" and unasked:
            live = pick.of(unasked)
            self.life.send(e.Recalled(live.job, live.attempt))
            return
        rows = list(self.life.ledger.rows.values()) if kind == "old" else []
        job, attempt = UNKNOWN, 1
        if rows:
            row = pick.of(rows[-2 * NEAR :])
            job, attempt = row.job, row.history.attempt + pick.of((-1, 1, -2)) * (1 if row.live else 0)
        made: tuple[e.Event, ...] = (
            e.Finished(job, attempt, pick.of((None, E.EXIT))),
            e.Started(job, attempt),
            e.StopRequested(job, attempt, StopReason.OOM),
            e.Recalled(job, attempt),
            e.Renewed(job, attempt),
        )
        self.life.send(pick.of(made))

    # Supervision.

    def renew(self, n: int) -> None:
        """Supervision has seen all live attempts, or one."""
        pick = Pick(n)
        works = [work for _, work in self.life.floor.works() if work.begun]
        for work in works if pick.of((True, False)) else works[:1]:
            self.life.send(e.Renewed(work.job, work.attempt))

    def stop(self, n: int) -> None:
        """Supervision, or a drain, wants an attempt stopped."""
        pick = Pick(n)
        if lives := list(self.life.bench.lives.values()):
            live = pick.of(lives)
            self.life.send(e.StopRequested(live.job, live.attempt, pick.of(tuple(StopReason))))

    def drain(self, _: int) -> None:
        """The server is going down."""
        self.life.send(e.Draining())

    # Time.

    def wait(self, n: int) -> None:
        """Time passes, and is looked at in time, or too late."""
        pick = Pick(n)
        self.pass_s(pick.of((0.5, 0.1, 2.0, 2.5, 3.0, 7.0, 11.0)))
        if pick.of((True, True, True, False)):
            self.life.send(e.Ticked())

    def watch(self, n: int) -> None:
        """A while passes, and supervision sees most of what lives now and then."""
        pick = Pick(n)
        for _ in range(4):
            self.pass_s(2.5)
            if pick.of((True, True, False)):
                self.renew(pick.of((0, 1)))
            self.life.send(e.Ticked())

    def pass_s(self, seconds: float) -> None:
        """Both clocks go on."""
        now = self.life.now
        self.life.now = Moment(now.wall + seconds, now.mono + seconds)

    def jump(self, n: int) -> None:
        """Somebody sets the wall clock."""
        now = self.life.now
        self.life.now = Moment(now.wall + Pick(n).of((-3.0, 5.0, -3600.0, 60.0)), now.mono)

    # Queues.

    def configure(self, n: int) -> None:
        """Pause, resume, scale, or another batch size."""
        pick = Pick(n)
        settings = self.life.bench.lanes[pick.of(tuple(QUEUES))].settings
        changes: dict[str, object] = pick.of(
            (
                {"paused": pick.of((False, False, True)), "paused_reason": "somebody wants to"},
                {"slots": pick.of((None, None, 2, 1, 3, 0))},
                {"batch_size": pick.of((2, 3, 1))},
                {"lease_s": pick.of((8.0, 30.0))},
            )
        )
        self.life.send(e.QueueChanged(replace(settings, **changes)))  # type: ignore[arg-type]

    def offer(self, n: int) -> None:
        """A runner has other slots, or other labels, or holds one."""
        pick = Pick(n)
        queue = pick.of(tuple(QUEUES))
        slots = list(slots_of(queue, pick.of((2, 2, 3, 1, 4, 0)), pick.of((0, 1))))
        charging: int = pick.of((0, 0, 1)) if slots else 0
        if charging:
            slots[0] = replace(slots[0], ready=False, reason="it is charging")
        self.life.send(e.SlotsOffered(queue, tuple(slots)))

    def runner(self, n: int) -> None:
        """A runner can run jobs, or cannot."""
        pick = Pick(n)
        self.life.send(e.RunnerChanged(pick.of(tuple(QUEUES)), pick.of((True, True, True, False))))

    def release(self, n: int) -> None:
        """A slot's session ends."""
        place = Pick(n).of([*self.life.bench.places()] or [None])
        if place is not None:
            self.life.send(e.SessionEnded(place.queue, place.name))

    # Rounds.

    def round(self, _: int) -> None:
        """A round ends and is committed."""
        self.life.round()

    def crash(self, n: int) -> None:
        """The server ends in the middle of a round, before or after its decisions."""
        pick = Pick(n)
        how = pick.of((How.DROPPED, How.FULL, How.UNHEARD, How.FULL))
        if how is How.UNHEARD or pick.of((True, False)):
            self.life.decide()
        restart(self.life, how, pick.n)


def _swap(mail: deque[e.Event]) -> None:
    """The second overtakes the first: messages about different attempts have no order, but a recall's answer stays."""
    first, second = mail[0], mail[1]
    free = isinstance(first, e.Finished | e.Started) and isinstance(second, e.Finished | e.Started)
    if free and first.job != second.job:  # type: ignore[union-attr]
        mail[0], mail[1] = second, first
