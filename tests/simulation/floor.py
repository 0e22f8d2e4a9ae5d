"""The world beyond the core: slots where attempts really live and die, and their messages on the way back."""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass

from hpcq.core.effects import Recall, Start, Stop
from hpcq.core.events import Event, Finished, Recalled, Started
from hpcq.core.job import ErrorType, Treatment
from tests.simulation.bench import Items

Where = tuple[str, str]  # queue, slot
FINISHED_EARLY = ErrorType.INFRA  # what a stop before the beginning is reported as


@dataclass(slots=True)
class Work:
    """An attempt that lives on a slot, begun or not."""

    job: int
    attempt: int
    ran_as: Treatment
    items: Items
    begun: bool = False
    handed: bool = False  # its runner has it already: it cannot be recalled
    began_at: float | None = None  # wall


class Floor:
    """All slots. Whoever is first of a slot lives there; the others wait behind it."""

    def __init__(self, totals: dict[str, float]) -> None:
        self.totals = totals
        self.slots: dict[Where, list[Work]] = {}
        self.mail: dict[Where, deque[Event]] = {}
        self.past: dict[tuple[int, int], Work] = {}  # what has left, by job and attempt

    def busy(self) -> list[Where]:
        """Slots where something lives."""
        return [where for where, works in self.slots.items() if works]

    def works(self) -> Iterator[tuple[Where, Work]]:
        """All that lives."""
        for where, works in self.slots.items():
            for work in works:
                yield where, work

    def letters(self) -> list[Where]:
        """Slots with messages on the way."""
        return [where for where, mail in self.mail.items() if mail]

    def send(self, where: Where, message: Event) -> None:
        """A message to the core sets out."""
        self.mail.setdefault(where, deque()).append(message)

    # What the core asks for.

    def act(self, effect: Start | Stop | Recall, treatment: Treatment) -> None:
        """Do it; everything about it is on disk."""
        where = (effect.queue, effect.slot)
        if isinstance(effect, Start):
            work = Work(effect.job, effect.attempt, treatment, effect.items)
            self.slots.setdefault(where, []).append(work)
            self._check()
            return
        found = [work for work in self.slots.get(where, []) if (work.job, work.attempt) == (effect.job, effect.attempt)]
        for work in found:
            if isinstance(effect, Stop):
                self._stop(where, work)
            elif not work.begun and not work.handed:
                self._leave(where, work)
                self.send(where, Recalled(work.job, work.attempt))

    def _stop(self, where: Where, work: Work) -> None:
        if not work.begun:
            self._leave(where, work)
            self.send(where, Finished(work.job, work.attempt, FINISHED_EARLY))

    def _check(self) -> None:
        alive = Counter(work.job for _, work in self.works())
        assert max(alive.values(), default=0) <= 1, f"two attempts of one job live: {alive.most_common(1)}"
        first = [works[0] for works in self.slots.values() if works]
        held = Counter(item for work in first for name, items in work.items for item in ((name, i) for i in items))
        assert max(held.values(), default=0) <= 1, f"two live attempts have one item: {held.most_common(1)}"
        for name, total in self.totals.items():
            taken = sum(amount for work in first for each, amount in work.ran_as.resources if each == name)
            assert taken <= total + 1e-6, f"{taken:g} {name} are in use, of {total:g}"

    # What happens by itself.

    def begin(self, where: Where, wall: float) -> None:
        """The slot's first attempt begins."""
        works = self.slots[where]
        if works and not works[0].begun:
            works[0].begun, works[0].began_at = True, wall
            self.send(where, Started(works[0].job, works[0].attempt))

    def hand(self, where: Where) -> None:
        """The runner is given the slot's second attempt, so that it never idles."""
        works = self.slots[where]
        if len(works) > 1:
            works[1].handed = True

    def end(self, where: Where, outcome: Finished) -> None:
        """The slot's first attempt ends; `outcome`: how, its numbers are filled in here."""
        works = self.slots[where]
        if works:
            work = works[0]
            self._leave(where, work)
            failure = outcome.failure if work.begun else outcome.failure or ErrorType.INFRA
            self.send(
                where,
                Finished(
                    work.job, work.attempt, failure, outcome.retry_after_s, outcome.draw,
                    outcome.worker_died and work.begun, outcome.session_lost, outcome.run_s,
                ),
            )  # fmt: skip

    def _leave(self, where: Where, work: Work) -> None:
        self.slots[where].remove(work)
        self.past[work.job, work.attempt] = work

    def find(self, job: int, attempt: int) -> Work | None:
        """The attempt, if it lives, or if its last message is on the way."""
        for _, work in self.works():
            if (work.job, work.attempt) == (job, attempt):
                return work
        for mail in self.mail.values():
            for message in mail:
                if isinstance(message, Finished | Recalled) and (message.job, message.attempt) == (job, attempt):
                    return self.past[job, attempt]
        return None

    def crash(self, survivors: set[tuple[int, int]]) -> None:
        """What lives dies, but for some, and what was said is lost."""
        self.mail.clear()
        for where, works in self.slots.items():
            self.slots[where] = [work for work in works if (work.job, work.attempt) in survivors]
