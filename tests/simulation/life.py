"""One server's life as the core sees it: rounds, commits and crashes, each step held against what was foreseen."""

from collections import deque
from itertools import zip_longest

from hpcq.core import events as e
from hpcq.core import scheduler as door
from hpcq.core.effects import Effect, Recall, Save, Start, Stop
from hpcq.core.job import Moment, QueueSettings, Slot, State, Treatment
from hpcq.core.scheduler import Scheduler
from tests.simulation.bench import Bench, Lane, Live
from tests.simulation.brief import brief
from tests.simulation.floor import Floor, Where
from tests.simulation.foresight import Expected, Foresight, Known
from tests.simulation.ledger import ENDS, Ledger, Row
from tests.simulation.order import check_start
from tests.support import invariants

S = State
TOTALS = {"cpus": 3.0, "gpu": 3.0, "licence": 1.0}
ITEMS = {"gpu": ("0", "1", "2")}
SHORT_S = 0.05  # claims ahead are for work that is shorter
EXPLAINED = 4  # waiting jobs that are asked about in a round
SHOWN = 30  # last steps that a failure shows


class Life:
    """A core, a store, slots, and the model that foresees what they do.

    `inside`: also look into the core's own book after every step.
    """

    def __init__(self, *, inside: bool = True) -> None:
        self.inside = inside
        self.ledger = Ledger()
        self.bench = Bench(TOTALS, ITEMS)
        self.floor = Floor(TOTALS)
        self.known: Known = {}
        self.foresight = Foresight(self.ledger, self.bench, self.known)
        self.now = Moment(1_000_000.0, 500.0)
        self.acting: list[Start | Stop | Recall] = []  # asked for in this round
        self.delivered: list[tuple[Where, e.Event]] = []  # taken from the floor's mail in this round
        self.log: deque[str] = deque(maxlen=SHOWN)
        self.core = Scheduler(TOTALS, ITEMS)
        self.loading = False  # the core does not know all jobs yet
        self._leaving: Live | None = None  # whose end is being taken in

    # Queues.

    def queue(self, settings: QueueSettings, slots: tuple[Slot, ...]) -> None:
        """A queue and what it has."""
        self.bench.lanes[settings.name] = Lane(settings, slots)
        self.send(e.QueueChanged(settings))
        self.send(e.SlotsOffered(settings.name, slots))

    # A round.

    def send(self, event: e.Event) -> None:
        """One event, checked."""
        self.log.append(f"Loaded({len(event.jobs)} jobs)" if isinstance(event, e.Loaded) else brief(event))
        if isinstance(event, e.Submitted):
            for new in event.jobs:
                self.ledger.insert(new)
        expected = self.foresight.expect(event, self.now)
        if isinstance(event, e.Edited):
            self.ledger.edit(event)
        effects = self.core.handle(event, self.now)
        self._compare(event, effects, expected)
        self._arrange(event)
        for effect in effects:
            if isinstance(effect, Save):
                self._absorb(effect)
        self._settle_up(event)
        self._check()
        if self.inside:
            invariants.check(self.core)

    def deliver(self, where: Where) -> None:
        """The next message from this slot comes in."""
        message = self.floor.mail[where].popleft()
        self.delivered.append((where, message))
        self.send(message)

    def decide(self) -> None:
        """The end of a round, before its commit."""
        self.foresight.now = self.now
        told = 0
        effects = self.core.assign(self.now)
        acting = [brief(effect) for effect in effects if not isinstance(effect, Save)]
        self.log.append(" ".join(["round:", *acting]))
        for effect, after in zip_longest(effects, effects[1:]):
            if isinstance(effect, Save) and effect.state is S.STARTING:
                assert isinstance(after, Start), f"job {effect.job} is saved as starting and not started"
                assert after.job == effect.job
                self._absorb(effect)
            elif isinstance(effect, Save):
                self._released(effect)
                told += 1
            elif isinstance(effect, Start):
                self._start(effect)
            else:
                self._recall(effect)
            if not isinstance(effect, Save):
                self.acting.append(effect)
        assert told <= door.FAN_OUT, f"{told} dependents were told in one round"
        self._check()
        self._check_decided()
        if self.inside:
            invariants.check_assigned(self.core)

    def commit(self) -> None:
        """The round is on disk, and the world acts."""
        acting, self.acting = self.acting, []
        self.on_disk()
        for effect in acting:
            self.floor.act(effect, self.ledger.rows[effect.job].treatment)

    def on_disk(self) -> None:
        """The round is on disk."""
        self.ledger.commit()
        self.core.committed()
        self.delivered.clear()
        self.acting.clear()

    def round(self) -> None:
        """A whole end of a round."""
        self.decide()
        self.commit()

    # What comes out of the core.

    def _compare(self, event: e.Event, effects: list[Effect], expected: Expected) -> None:
        saves: dict[int, list[Save]] = {}
        stops = []
        for n, effect in enumerate(effects):
            if isinstance(effect, Save):
                saves.setdefault(effect.job, []).append(effect)
                if effect.state is S.CANCELLING:
                    assert isinstance(effects[n + 1], Stop), f"job {effect.job} is to be stopped, and nobody is told"
            else:
                assert isinstance(effect, Stop), f"{effect} in the middle of a round"
                stops.append(effect)
        assert saves.keys() == expected.keys(), f"{brief(event)} changed {saves}, foreseen was {expected}"
        for job, changes in expected.items():
            met = len(changes) == len(saves[job]) and all(
                change.meets(save) for change, save in zip(changes, saves[job], strict=True)
            )
            assert met, f"{brief(event)} changed {saves[job]}, foreseen was {changes}"
        for stop in stops:
            self._stopped(stop, saves)
        self.acting += stops

    def _stopped(self, stop: Stop, saves: dict[int, list[Save]]) -> None:
        save = saves[stop.job][-1]
        settings = self.bench.lanes[stop.queue].settings
        seen = (stop.reason, stop.attempt, stop.slot, stop.grace_s)
        assert seen == (save.stop, save.history.attempt, save.slot, settings.grace_s), f"{stop} after {save}"

    def _absorb(self, save: Save) -> None:
        """Bring the model to where this change has led."""
        job = save.job
        before = self.ledger.rows[job]
        self.ledger.save(save, self.now.wall)
        row = self.ledger.rows[job]
        live = self.bench.lives.get(job)
        if live is not None and not row.live:
            self.bench.leave(job)
            if row.history.infra_used > before.history.infra_used:
                self.bench.avoid[job] = live.place.name
        elif live is not None and row.state is S.RUNNING and not live.running:
            self.bench.run(live, self.now, timeout_s=row.treatment.timeout_s)
        elif live is not None and row.state is S.CANCELLING:
            live.stop = row.stop
            self.bench.timeouts.pop(job, None)
        if row.state is S.BLOCKED:
            ends = {need.job: need.ended or self.ledger.ends.get(need.job) for need in row.depends_on}
            self.known[job] = {parent: ended for parent, ended in ends.items() if ended is not None}
        else:
            self.known.pop(job, None)
        if row.final and row.state is not None:
            self.bench.avoid.pop(job, None)
            self._tell(job, row.state)

    def _tell(self, parent: int, state: State) -> None:
        for job, heard in self.known.items():
            if any(need.job == parent for need in self.ledger.rows[job].depends_on):
                heard.setdefault(parent, state)

    def _arrange(self, event: e.Event) -> None:
        """What an event says of the queues, before its changes are taken over."""
        lanes = self.bench.lanes
        if isinstance(event, e.QueueChanged):
            lanes[event.settings.name].settings = event.settings
            lanes[event.settings.name].refit()
        elif isinstance(event, e.SlotsOffered):
            lanes[event.queue].offered = event.slots
            lanes[event.queue].refit()
        elif isinstance(event, e.RunnerChanged):
            lanes[event.queue].available = event.available
        elif isinstance(event, e.SessionEnded):
            place = lanes[event.queue].places.get(event.slot)
            if place is not None and not place.held:
                place.key, place.turns = None, 0
        elif isinstance(event, e.Draining):
            self.bench.draining = True
        elif isinstance(event, e.Renewed) and self.bench.live(event.job, event.attempt):
            if event.job in self.bench.leases:
                lease_s = lanes[self.bench.lives[event.job].place.queue].settings.lease_s
                self.bench.leases[event.job] = self.now.mono + lease_s
        elif isinstance(event, e.Edited):
            self._edit_live(event)
        elif isinstance(event, e.Attached):
            self.bench.found(event, self.now)
        elif isinstance(event, e.Finished | e.Recalled):
            self._leaving = self.bench.live(event.job, event.attempt)

    def _edit_live(self, event: e.Edited) -> None:
        live = self.bench.lives.get(event.job)
        if live is not None and live.running and live.stop is None:
            self.bench.timeouts.pop(live.job, None)
            if event.treatment.timeout_s is not None:
                self.bench.timeouts[live.job] = live.since + event.treatment.timeout_s

    def _settle_up(self, event: e.Event) -> None:
        """What an event says of a slot that has become free."""
        if isinstance(event, e.Finished) and self._leaving is not None:
            place = self._leaving.place
            if event.session_lost and not place.held:
                place.key, place.turns = None, 0
        elif isinstance(event, e.Recalled) and self._leaving is not None and event.job not in self.bench.lives:  # noqa: SIM102
            if self._leaving.stop is None:
                self._leaving.place.turns = max(0, self._leaving.place.turns - 1)

    # What comes out of `assign`.

    def _released(self, save: Save) -> None:
        row = self.ledger.rows[save.job]
        assert row.state is S.BLOCKED, f"job {row.job} is {row.state}, and was changed at the end of a round: {save}"
        decision = self.foresight.decision(row)
        assert decision is not None, f"job {row.job} left `blocked` as {save.state}, and still waits for another"
        assert decision.meets(save), f"job {row.job} was saved as {save}, foreseen was {decision}"
        self._absorb(save)

    def _start(self, start: Start) -> None:
        row = self.ledger.rows[start.job]
        assert (row.state, row.slot, row.history.attempt) == (S.STARTING, start.slot, start.attempt), f"{start}, {row}"
        check_start(self.bench, start, row, self.queued())
        if self.bench.place(start.queue, start.slot).held:
            mean_s = self.core.queue_view(start.queue, self.now).mean_run_s
            assert mean_s is not None, f"{start} is a claim ahead, and nobody knows how long such jobs run"
            assert mean_s < SHORT_S, f"{start} is a claim ahead, and such jobs run {mean_s} s"
        self.bench.give(start, row.treatment)

    def _recall(self, effect: Effect) -> None:
        assert isinstance(effect, Recall), f"{effect} at the end of a round"
        live = self.bench.live(effect.job, effect.attempt)
        assert live is not None, f"{effect} for an attempt that is not live"
        assert live.place.held[0] is not live, f"{effect}, which has its slot"
        waits = self.ledger.rows[effect.job].state is S.STARTING and not live.begun
        assert waits, f"{effect}, which has begun"
        assert not live.recalling, f"{effect}, which was asked back already"
        live.recalling = True

    # What is always true.

    def queued(self) -> list[Row]:
        """Jobs that wait for a slot."""
        return [row for row in self.ledger.unfinished() if row.state is S.QUEUED]

    def _check(self) -> None:
        """The core and the store agree on every job, and no time is forgotten."""
        if self.loading:
            return
        for row in self.ledger.unfinished():
            assert self.core.state_of(row.job) is row.state, (
                f"job {row.job} is {row.state} on disk and {self.core.state_of(row.job)} in the core"
            )
        assert self.core.unfinished == len(self.ledger.open), f"the core has {self.core.unfinished} unfinished jobs"
        for job in self.ledger.ends:
            assert self.ledger.rows[job].state not in ENDS or self.core.state_of(job) is None
        for due, wake in zip(self.foresight.wakes(), self.core.wakes(), strict=True):
            assert due is None or (wake is not None and wake <= due + 1e-6), f"wakes at {wake}, and {due} is due"

    def _check_decided(self) -> None:
        """Nothing that could start, or be released, is left over."""
        if self.core.wakes()[0] != 0.0:
            late = [job for job in self.known if self.foresight.decision(self.ledger.rows[job]) is not None]
            assert not late, f"jobs {late} are blocked, though all they waited for is decided"
        waiting = [row for row in self.ledger.unfinished() if not row.live]
        for row in waiting[:: 1 + len(waiting) // EXPLAINED]:
            self._check_explained(row)
        queued = self.queued()
        for place in self.bench.places():
            for claim in place.held[1:]:
                self._check_claim(claim, queued)
        for row in queued:
            assert not self._startable(row, queued), f"job {row.job} waits beside a slot that it could have"

    def _check_claim(self, claim: Live, queued: list[Row]) -> None:
        """A claim that has not begun is asked back for anything more urgent, and where nothing may start."""
        if claim.begun or claim.recalling or claim.stop is not None:
            return
        place, lane = claim.place, self.bench.lanes[claim.place.queue]
        assert lane.runnable, f"claim {claim.job} may not start any more"
        assert place.usable, f"claim {claim.job} may not start any more"
        assert not self.bench.draining, f"claim {claim.job} may not start any more"
        for row in queued:
            asked = row.treatment
            urgent = asked.queue == place.queue and asked.priority > claim.ran_as.priority
            if urgent and place.admits(asked) and self.bench.possible(asked):
                raise AssertionError(f"claim {claim.job} stands on {place.name} before the more urgent job {row.job}")

    def _check_explained(self, row: Row) -> None:
        explanation = self.core.explain(row.job, self.now)
        assert explanation is not None, f"nothing is known of job {row.job}"
        codes = [reason.code for reason in explanation.reasons]
        assert codes, f"there is no reason why job {row.job} is {row.state}"
        missing = self.why(row) - set(codes)
        assert not missing, f"job {row.job} is {row.state} because of {missing}, and the reasons given are {codes}"

    def why(self, row: Row) -> set[str]:
        """Reasons that hold for a waiting job, whatever else does; a queued one without any should soon start."""
        lane, wanted = self.bench.lanes[row.treatment.queue], row.treatment
        holds = {
            "dependency": row.state is S.BLOCKED,
            "backoff": row.state is S.DELAYED and row.history.attempt > 0,
            "delayed": row.state is S.DELAYED and row.history.attempt == 0,
            "draining": self.bench.draining,
            "paused": lane.settings.paused,
            "runner_unavailable": not lane.available,
            "no_matching_slot": not any(place.usable and place.admits(wanted) for place in lane.places.values()),
            "resources": not self.bench.possible(wanted),
        }
        return {code for code, held in holds.items() if held}

    def _startable(self, row: Row, queued: list[Row]) -> bool:
        """A slot is free, what it needs too, and no other job is short of any of that."""
        wanted, lane = row.treatment, self.bench.lanes[row.treatment.queue]
        if self.bench.draining or not lane.runnable or not self.bench.possible(wanted):
            return False
        if not any(place.usable and not place.held and place.admits(wanted) for place in lane.places.values()):
            return False
        free = self.bench.free()
        if any(amount > free.get(name, 0) for name, amount in wanted.resources):
            return False
        return not any(self._before(other.treatment, wanted, free) for other in queued)

    def _before(self, asked: Treatment, wanted: Treatment, free: dict[str, float]) -> bool:
        """Something is kept for an earlier job: one that is short of it, or was, and waits for a slot alone now."""
        lane = self.bench.lanes[asked.queue]
        slots = [place for place in lane.places.values() if place.usable and place.admits(asked)]
        if asked.priority < wanted.priority or not slots or not lane.runnable or not self.bench.possible(asked):
            return False
        needs = dict(wanted.resources)
        for name, amount in asked.resources:
            spare = free[name] - amount  # negative: it is short
            if name in needs and (spare < 0 or (all(place.held for place in slots) and self._aside(name, needs, free))):
                return True
        return False

    def _aside(self, name: str, needs: dict[str, float], free: dict[str, float]) -> bool:
        """Whether what may be kept for a job of each queue that has no slot free leaves too little."""
        most: dict[str, float] = {}
        for row in self.queued():
            amount = dict(row.treatment.resources).get(name, 0.0)
            if self.bench.possible(row.treatment):
                most[row.treatment.queue] = max(most.get(row.treatment.queue, 0.0), amount)
        return needs[name] > free[name] - sum(most.values())
