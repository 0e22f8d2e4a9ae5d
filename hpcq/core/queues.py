"""A queue: its slots, what waits in it, and who has been served."""

import re
from collections.abc import Iterator
from itertools import islice

from hpcq.core.capacity import Items, Resources
from hpcq.core.groups import Kind, Levels, Queued
from hpcq.core.job import History, QueueSettings, Slot, State, StopReason

MEAN_WEIGHT = 0.2  # of the newest run in the moving average of run times


class Active:
    """A job that has a slot, or a claim on one."""

    __slots__ = (
        "begun",
        "expires",
        "history",
        "job",
        "kind",
        "place",
        "ran_as",
        "recalling",
        "started",
        "state",
        "stop",
    )

    def __init__(self, job: int, kind: Kind, history: History, place: "Place") -> None:
        self.job = job
        self.kind = kind  # how it is treated now
        self.ran_as = kind.treatment  # how it was when it got the slot: this counts for what it holds
        self.history = history
        self.place = place
        self.state = State.STARTING
        self.stop: StopReason | None = None
        self.started: float | None = None  # monotonic
        self.begun = False  # a claim that the runner began before its turn came here
        self.recalling = False
        self.expires: float | None = None  # wall; counts again if it is recalled before its first attempt

    @property
    def leads(self) -> bool:
        """Whether the slot is its own, rather than that of one before it."""
        return self.place.jobs[0] is self

    @property
    def awaited(self) -> bool:
        """Whether nothing has been heard of it since its start was asked for."""
        return self.state is State.STARTING and not self.begun

    @property
    def recallable(self) -> bool:
        """Whether it is a claim that nothing has happened to."""
        return self.awaited and not (self.recalling or self.leads)


class Place:
    """A slot, and what it holds: one job, claims behind it, a session, and the resources of its turn."""

    __slots__ = (
        "gone",
        "items",
        "jobs",
        "labels",
        "name",
        "queue",
        "ready",
        "reason",
        "resources",
        "session_key",
        "turns",
    )

    def __init__(self, queue: "Queue", slot: Slot) -> None:
        self.queue = queue
        self.name = slot.name
        self.labels = slot.labels
        self.ready = slot.ready
        self.reason = slot.reason
        self.gone = False  # no longer offered: it finishes its job first
        self.jobs: list[Active] = []  # the first has the slot, the others are claims ahead
        self.session_key: str | None = None
        self.turns = 0  # jobs of this key in a row
        self.resources: Resources = ()
        self.items: Items = ()

    @property
    def usable(self) -> bool:
        """Whether it may take jobs."""
        return self.ready and not self.gone

    @property
    def spent(self) -> str | None:
        """The session key whose turn is over."""
        return self.session_key if self.turns >= self.queue.settings.batch_size else None

    def admits(self, requires: tuple[tuple[str, str], ...]) -> bool:
        """Whether it has the labels that are required."""
        return not requires or all(label in self.labels for label in requires)

    def serve(self, key: str | None) -> None:
        """One more job of this key gets the slot."""
        if key is None:
            self.end_session()
            return
        self.turns = 1 if key != self.session_key or self.spent is not None else self.turns + 1
        self.session_key = key

    def lead(self, active: Active) -> None:
        """One of its jobs has the slot, before those that have not begun."""
        self.jobs.remove(active)
        self.jobs.insert(0, active)

    def end_session(self) -> None:
        """Whatever was prepared is gone."""
        self.session_key = None
        self.turns = 0


class Queue:
    """A lane with slots of its own."""

    def __init__(self, settings: QueueSettings, queued: Queued) -> None:
        self.settings = settings
        self.available = True
        self.reason = ""  # why its runner is not available
        self.offered: tuple[Slot, ...] | None = None  # None: its runner has not spoken yet
        self.places: dict[str, Place] = {}
        self.idle: dict[str, Place] = {}  # those that can take a job, longest idle first
        self.levels = Levels(queued)
        self.blocked = 0
        self.delayed = 0
        self.claims = 0
        self.running: dict[str, int] = {}  # org -> jobs that have a slot or a claim
        self.served: dict[str, int] = {}  # org -> when it last got one, counted in jobs served
        self.serves = 0
        self.mean_run_s: float | None = None
        self.passed: tuple[int, tuple[str, ...]] | None = (
            None  # the first job that was passed over, and what it was short of
        )

    @property
    def runnable(self) -> bool:
        """Whether anything may start here."""
        return self.available and not self.settings.paused

    def take(self, place: Place, active: Active) -> None:
        """Give the slot, or the place behind those that have it, to a job."""
        if place.jobs:
            self.claims += 1
        else:
            self.idle.pop(place.name, None)
        place.jobs.append(active)
        org_id = active.ran_as.org_id
        self.running[org_id] = self.running.get(org_id, 0) + 1
        self.serves += 1
        self.served[org_id] = self.serves

    def leave(self, active: Active) -> Active | None:
        """The job has its slot or claim no longer. Returns the claim whose turn it is now."""
        place = active.place
        led = active.leads
        place.jobs.remove(active)
        org_id = active.ran_as.org_id
        self.running[org_id] -= 1
        if not self.running[org_id]:
            del self.running[org_id]
        if not led or place.jobs:
            self.claims -= 1
        if place.jobs:
            return place.jobs[0] if led else None
        if place.gone:
            del self.places[place.name]
        elif place.ready:
            self.idle[place.name] = place
        return None

    def learn(self, run_s: float) -> None:
        """A job ran so long."""
        mean_s = self.mean_run_s
        self.mean_run_s = run_s if mean_s is None else mean_s + MEAN_WEIGHT * (run_s - mean_s)

    def refit(self) -> None:
        """Have the slots that are offered, up to the cap; one that is busy finishes its job first."""
        offered = self.offered or ()
        kept = {slot.name for slot in islice(sorted(offered, key=lambda slot: natural(slot.name)), self.settings.slots)}
        for name in [name for name in self.places if name not in kept]:
            self.places[name].gone = True
            if not self.places[name].jobs:
                del self.places[name]
        for slot in offered:
            if slot.name in kept:
                self._have(slot)
        idle = [place for place in self.idle.values() if place.usable]
        idle += [place for place in self.places.values() if place.usable and place.name not in self.idle]
        self.idle = {place.name: place for place in idle if not place.jobs}

    def _have(self, slot: Slot) -> None:
        place = self.places.get(slot.name)
        if place is None:
            self.places[slot.name] = Place(self, slot)
            return
        place.labels, place.ready, place.reason, place.gone = slot.labels, slot.ready, slot.reason, False

    def active(self) -> Iterator[Active]:
        """All that have a slot or a claim, by slot."""
        for place in self.places.values():
            yield from place.jobs


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key by which `slot-2` stands before `slot-10`."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part)
