"""Which job waits for the end of which, and the worklist of ends whose dependents are still to be told."""

from collections import deque
from collections.abc import Iterator

from hpcq.core.job import Dependency, On, State
from hpcq.core.record import record

WANTED: dict[On, frozenset[State]] = {
    On.SUCCESS: frozenset({State.SUCCEEDED}),
    On.FAILURE: frozenset({State.FAILED, State.CANCELLED}),
    On.ANY: frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED}),
}


@record
class Broken:
    """A dependency that can no longer be satisfied."""

    parent: int
    on: On
    ended: State


@record
class Decided:
    """All that a blocked job waited for has ended, or one of them contrary to its wish."""

    job: int
    broken: Broken | None


class Dependencies:
    """Edges between unfinished jobs. A job is blocked exactly while it stands in `undecided`."""

    def __init__(self) -> None:
        self.undecided: dict[int, dict[int, tuple[On, ...]]] = {}  # blocked job -> what it still waits for
        self.dependents: dict[int, list[int]] = {}  # unfinished job -> who waits; those that left stay listed
        self.ended: dict[int, State] = {}  # ends of this round, which the store does not know yet
        self.worklist: deque[tuple[int, State, list[int]]] = deque()  # ended job -> dependents not yet told, last first

    def enter(self, job: int, depends_on: tuple[Dependency, ...]) -> Broken | None:
        """Let the job wait for whatever has not ended. A contradiction is returned, and then nothing is kept."""
        waits: dict[int, tuple[On, ...]] = {}
        for dependency in depends_on:
            ended = self.ended.get(dependency.job, dependency.ended)
            if ended is None:
                waits[dependency.job] = (*waits.get(dependency.job, ()), dependency.on)
            elif ended not in WANTED[dependency.on]:
                return Broken(dependency.job, dependency.on, ended)
        for parent in waits:
            self.dependents.setdefault(parent, []).append(job)
        if waits:
            self.undecided[job] = waits
        return None

    def leave(self, job: int) -> None:
        """The job waits no longer: somebody ended it."""
        self.undecided.pop(job, None)

    def end(self, job: int, state: State) -> None:
        """The job is final: its dependents are to be told, by `settle`."""
        self.ended[job] = state
        dependents = self.dependents.pop(job, None)
        if dependents:
            dependents.reverse()
            self.worklist.append((job, state, dependents))

    def settle(self, most: int) -> Iterator[Decided]:
        """Tell at most so many dependents. What the caller ends meanwhile joins the worklist."""
        while self.worklist and most > 0:
            parent, state, dependents = self.worklist[0]
            while dependents and most > 0:
                most -= 1
                decided = self._tell(dependents.pop(), parent, state)
                if decided is not None:
                    yield decided
            if not dependents:
                self.worklist.popleft()

    def _tell(self, job: int, parent: int, state: State) -> Decided | None:
        waits = self.undecided.get(job)
        ons = waits.pop(parent, None) if waits is not None else None
        if waits is None or ons is None:
            return None
        for on in ons:
            if state not in WANTED[on]:
                del self.undecided[job]
                return Decided(job, Broken(parent, on, state))
        if waits:
            return None
        del self.undecided[job]
        return Decided(job, None)
