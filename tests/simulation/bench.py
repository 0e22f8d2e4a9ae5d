"""A model of the queues as the core should see them: slots, who has them, sessions, turns, resources, clocks."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hpcq.core.effects import Start
from hpcq.core.events import Attached
from hpcq.core.job import Moment, QueueSettings, Slot, State, StopReason, Treatment

Amounts = tuple[tuple[str, float], ...]
Items = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(slots=True)
class Live:
    """A job that has a slot, or a claim on one."""

    job: int
    attempt: int
    place: "Place"
    ran_as: Treatment  # when it got the slot
    begun: bool = False  # its runner has said so
    running: bool = False
    recalling: bool = False
    stop: StopReason | None = None
    since: float = 0.0  # monotonic: when it began to run


@dataclass(slots=True)
class Place:
    """A slot. The first of `held` has it."""

    name: str
    queue: str
    slot: Slot
    offered: bool = True
    held: list[Live] = field(default_factory=list)
    key: str | None = None
    turns: int = 0
    resources: Amounts = ()
    items: Items = ()

    def admits(self, treatment: Treatment) -> bool:
        """Whether it has the labels that are required."""
        return set(treatment.requires) <= set(self.slot.labels)

    @property
    def usable(self) -> bool:
        """Whether it may take jobs."""
        return self.offered and self.slot.ready

    def serve(self, key: str | None, batch_size: int) -> None:
        """One more job of this key."""
        again = key is not None and key == self.key and self.turns < batch_size
        self.key, self.turns = key, 0 if key is None else self.turns + 1 if again else 1


@dataclass(slots=True)
class Lane:
    """A queue."""

    settings: QueueSettings
    offered: tuple[Slot, ...]
    available: bool = True
    places: dict[str, Place] = field(default_factory=dict)
    served: dict[str, int] = field(default_factory=dict)

    @property
    def runnable(self) -> bool:
        """Whether anything may start."""
        return self.available and not self.settings.paused

    def running(self) -> Counter[str]:
        """Jobs with a slot or a claim, by org."""
        return Counter(live.ran_as.org_id for place in self.places.values() for live in place.held)

    def refit(self) -> None:
        """Have the first of the offered slots; the others go as soon as nothing runs there."""
        slots = sorted(self.offered, key=lambda slot: int(slot.name.rsplit("-", 1)[1]))[: self.settings.slots]
        for place in self.places.values():
            place.offered = False
        for slot in slots:
            place = self.places.setdefault(slot.name, Place(slot.name, self.settings.name, slot))
            place.slot, place.offered = slot, True
        self.clear()

    def clear(self) -> None:
        """Forget slots that have gone and are idle."""
        self.places = {name: place for name, place in self.places.items() if place.offered or place.held}


class Bench:
    """All queues, what is free, and the two monotonic clocks of live attempts."""

    def __init__(self, totals: dict[str, float], items: Mapping[str, tuple[str, ...]]) -> None:
        self.totals = totals
        self.items = items
        self.lanes: dict[str, Lane] = {}
        self.lives: dict[int, Live] = {}
        self.avoid: dict[int, str] = {}
        self.timeouts: dict[int, float] = {}
        self.leases: dict[int, float] = {}
        self.looked = 0.0
        self.serves = 0
        self.draining = False

    def restart(self) -> None:
        """A new core: slots and settings are told again, all else is forgotten."""
        for lane in self.lanes.values():
            lane.places, lane.served = {}, {}
            lane.refit()
        self.lives, self.avoid, self.timeouts, self.leases = {}, {}, {}, {}
        self.draining = False

    def places(self) -> Iterator[Place]:
        """Every slot of every queue."""
        for lane in self.lanes.values():
            yield from lane.places.values()

    def free(self) -> dict[str, float]:
        """What nobody has of each resource."""
        taken: Counter[str] = Counter()
        for place in self.places():
            for name, amount in place.resources:
                taken[name] += amount  # type: ignore[assignment]
        return {name: total - taken[name] for name, total in self.totals.items()}

    def possible(self, treatment: Treatment) -> bool:
        """Whether it would fit if nothing else ran."""
        return all(amount <= self.totals.get(name, 0) for name, amount in treatment.resources)

    def live(self, job: int, attempt: int) -> Live | None:
        """The live attempt of this number."""
        live = self.lives.get(job)
        return live if live is not None and live.attempt == attempt else None

    # Changes.

    def place(self, queue: str, slot: str) -> Place:
        """A slot; one that is not offered lasts as long as its job."""
        lane = self.lanes[queue]
        return lane.places.setdefault(slot, Place(slot, queue, Slot(slot), offered=False))

    def give(self, start: Start, treatment: Treatment) -> Live:
        """A slot, or a claim on it, to a job."""
        live = Live(start.job, start.attempt, self.place(start.queue, start.slot), treatment)
        self.avoid.pop(start.job, None)
        return self._take(live, start.items)

    def found(self, event: Attached, now: Moment) -> None:
        """A live attempt that a restart has found; one that has not begun may have been asked back."""
        new = event.job
        ran_as = event.ran_as or new.treatment
        live = Live(new.job, new.history.attempt, self.place(ran_as.queue, event.slot), ran_as, stop=event.stop)
        self._take(live, event.items)
        if event.started_at is None or new.state is State.STARTING:
            live.recalling = True
        else:
            ran_s = max(0.0, now.wall - event.started_at)
            self.run(live, now, ran_s=ran_s, timeout_s=new.treatment.timeout_s)

    def _take(self, live: Live, items: Items) -> Live:
        place, treatment = live.place, live.ran_as
        lane = self.lanes[place.queue]
        self.lives[live.job] = live
        if not place.held:
            place.resources, place.items = treatment.resources, items
        place.held.append(live)
        place.serve(treatment.session_key, lane.settings.batch_size)
        self.serves += 1
        lane.served[treatment.org_id] = self.serves
        return live

    def run(self, live: Live, now: Moment, *, ran_s: float = 0.0, timeout_s: float | None) -> None:
        """It runs from now on, or is found running after so many seconds: the lease is full in any case."""
        live.running = live.begun = True
        live.since = now.mono - ran_s
        live.recalling = False
        self.lead(live)
        if not self.leases:
            self.looked = now.mono
        self.leases[live.job] = now.mono + self.lanes[live.place.queue].settings.lease_s
        if timeout_s is not None and live.stop is None:
            self.timeouts[live.job] = live.since + timeout_s

    def lead(self, live: Live) -> None:
        """It has its slot before all claims."""
        held = live.place.held
        held.remove(live)
        held.insert(0, live)

    def leave(self, job: int) -> Live:
        """It has its slot or claim no longer."""
        live = self.lives.pop(job)
        place = live.place
        place.held.remove(live)
        self.leases.pop(job, None)
        self.timeouts.pop(job, None)
        if not place.held:
            place.resources, place.items = (), ()
        self.lanes[place.queue].clear()
        return live

    def looked_at(self, mono: float) -> list[tuple[int, StopReason]]:
        """Time is looked at: who is to be stopped. Whoever comes late himself extends all leases by the gap."""
        gap_s, self.looked = mono - self.looked, mono
        for job in self.leases:
            if gap_s > self.lanes[self.lives[job].place.queue].settings.lease_s / 2:
                self.leases[job] += gap_s
        late = [(job, StopReason.TIMEOUT) for job, when in self.timeouts.items() if when <= mono]
        silent = [(job, StopReason.LEASE) for job, when in self.leases.items() if when <= mono]
        for job, _ in late:
            del self.timeouts[job]
        for job, _ in silent:
            del self.leases[job]
        stopped: dict[int, StopReason] = {}
        for job, reason in (*late, *silent):
            if self.lives[job].stop is None:
                stopped.setdefault(job, reason)
        return list(stopped.items())
