"""Waiting jobs, in groups of which only the heads are looked at.

A queue has a level for each priority, a level a line for each org, a line a shelf for each need (resources and
required labels), a shelf a group for each session key. A waiting job is its integer in its group, and an entry in the
one table of queued jobs, which says to which group it belongs: an integer that it gainsays is a tombstone.
"""

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush, heapreplace

from hpcq.core.job import Treatment

Need = tuple[tuple[tuple[str, float], ...], tuple[tuple[str, str], ...]]  # resources, requires
SLACK = 64  # so many tombstones are always borne
SWEEP = 1024  # and so many groups, empty or not


class Kind:
    """A treatment that jobs of the core share, and the group in which they wait."""

    __slots__ = ("group", "held", "treatment")

    def __init__(self, treatment: Treatment, group: "Group") -> None:
        self.treatment = treatment
        self.group = group
        self.held = 0  # unfinished jobs of this kind


Queued = dict[int, Kind]  # every queued job


class Group:
    """Queued jobs that differ in nothing that matters for their order, by number."""

    __slots__ = ("early", "gone", "jobs", "order", "posted", "queued", "session_key", "shelf", "size")

    def __init__(self, shelf: "Shelf", session_key: str | None, order: int, queued: Queued) -> None:
        self.shelf = shelf
        self.session_key = session_key
        self.order = order
        self.queued = queued
        self.jobs: deque[int] = deque()  # rising
        self.early: list[int] = []  # a heap of those that came back: older than the last in `jobs`
        self.size = 0  # without tombstones
        self.posted: int | None = None  # the head under which the shelf knows it
        self.gone = False  # swept away when empty: a job that comes later makes a new one

    def add(self, job: int) -> None:
        """The job, already in the table, waits here, in the order of numbers."""
        jobs = self.jobs
        if not jobs or job > jobs[-1]:
            jobs.append(job)
        else:
            heappush(self.early, job)
        self.size += 1
        shelf = self.shelf
        shelf.line.grow(1)
        if self.posted is None or job < self.posted:
            shelf.post(self, job)

    def remove(self, job: int) -> None:
        """The job, no longer in the table, waits here no more."""
        self.size -= 1
        self.shelf.line.grow(-1)
        if self.jobs and self.jobs[0] == job:
            self.jobs.popleft()
        elif len(self.jobs) + len(self.early) > 2 * self.size + SLACK:
            self.jobs = deque(self.waiting())
            self.early = []

    def head(self) -> int | None:
        """The oldest job."""
        jobs, early = self.jobs, self.early
        while jobs:
            kind = self.queued.get(jobs[0])
            if kind is not None and kind.group is self:
                break
            jobs.popleft()
        if not early:
            return jobs[0] if jobs else None
        while early and not self.has(early[0]):
            heappop(early)
        if early and (not jobs or early[0] < jobs[0]):
            return early[0]
        return jobs[0] if jobs else None

    def has(self, job: int) -> bool:
        """Whether this integer is a job that waits here."""
        kind = self.queued.get(job)
        return kind is not None and kind.group is self

    def waiting(self) -> list[int]:
        """All that wait here, in order: a look at every one of them, not for decisions."""
        return sorted({job for each in (self.jobs, self.early) for job in each if self.has(job)})


class Shelf:
    """The groups of a line that need the same."""

    __slots__ = ("groups", "heap", "line", "requires", "resources")

    def __init__(self, line: "Line", need: Need) -> None:
        self.line = line
        self.resources, self.requires = need
        self.groups: dict[str | None, Group] = {}
        self.heap: list[tuple[int, int, Group]] = []  # (head, order, group); one that is not `posted` is stale

    def post(self, group: Group, head: int) -> None:
        """The group has a new, lower head."""
        group.posted = head
        heappush(self.heap, (head, group.order, group))

    def oldest(self, besides: str | None = None) -> Group | None:
        """The group with the oldest head; `besides`: a session key that is not meant."""
        group = self._top()
        if group is None or besides is None or group.session_key != besides:
            return group
        aside = []
        while group is not None and group.session_key == besides:
            aside.append(heappop(self.heap))
            group = self._top()
        for entry in aside:
            heappush(self.heap, entry)
        return group

    def _top(self) -> Group | None:
        heap = self.heap
        while heap:
            posted, _, group = heap[0]
            if posted != group.posted:  # posted anew since
                heappop(heap)
                continue
            head = group.head()
            if head == posted:
                return group
            group.posted = head
            if head is None:
                heappop(heap)
            else:
                heapreplace(heap, (head, group.order, group))
        return None


class Line:
    """What one org has waiting in one queue at one priority."""

    __slots__ = ("level", "org_id", "shelves", "size")

    def __init__(self, level: "Level", org_id: str) -> None:
        self.level = level
        self.org_id = org_id
        self.shelves: dict[Need, Shelf] = {}
        self.size = 0

    def grow(self, by: int) -> None:
        """One more, or one less, waits here."""
        self.size += by
        self.level.size += by
        self.level.levels.size += by

    def head(self) -> int:
        """Its oldest job; there is one."""
        heads = [group.posted for shelf in self.shelves.values() if (group := shelf.oldest()) is not None]
        return min(head for head in heads if head is not None)


class Level:
    """What waits in one queue at one priority."""

    __slots__ = ("levels", "lines", "priority", "size")

    def __init__(self, levels: "Levels", priority: int) -> None:
        self.levels = levels
        self.priority = priority
        self.lines: dict[str, Line] = {}
        self.size = 0


class Levels:
    """What waits in one queue, most urgent first."""

    __slots__ = ("by_priority", "made", "order", "queued", "size", "sweep_at")

    def __init__(self, queued: Queued) -> None:
        self.queued = queued
        self.by_priority: dict[int, Level] = {}
        self.order: list[Level] = []  # falling priority
        self.size = 0
        self.made = 0  # groups so far
        self.sweep_at = SWEEP

    def group(self, treatment: Treatment) -> Group:
        """The group in which such jobs wait; made when there is none."""
        if self.made >= self.sweep_at:
            self._sweep()
        shelf = self._shelf(treatment)
        group = shelf.groups.get(treatment.session_key)
        if group is None:
            self.made += 1
            group = shelf.groups[treatment.session_key] = Group(shelf, treatment.session_key, self.made, self.queued)
        return group

    def _shelf(self, treatment: Treatment) -> Shelf:
        level = self.by_priority.get(treatment.priority)
        if level is None:
            level = self.by_priority[treatment.priority] = Level(self, treatment.priority)
            self._sort()
        line = level.lines.get(treatment.org_id)
        if line is None:
            line = level.lines[treatment.org_id] = Line(level, treatment.org_id)
        need = (treatment.resources, treatment.requires)
        shelf = line.shelves.get(need)
        if shelf is None:
            shelf = line.shelves[need] = Shelf(line, need)
        return shelf

    def _sort(self) -> None:
        self.order = [self.by_priority[priority] for priority in sorted(self.by_priority, reverse=True)]

    def _sweep(self) -> None:
        """Forget what is empty; the next time is when as many groups again have been made as are left."""
        for group in self.groups():
            group.gone = group.size == 0
        for level in self.order:
            for line in level.lines.values():
                for shelf in line.shelves.values():
                    shelf.groups = {key: group for key, group in shelf.groups.items() if not group.gone}
                    shelf.heap = [entry for entry in shelf.heap if not entry[2].gone]
                line.shelves = {need: shelf for need, shelf in line.shelves.items() if shelf.groups}
            level.lines = {org_id: line for org_id, line in level.lines.items() if line.shelves}
        self.by_priority = {level.priority: level for level in self.order if level.lines}
        self._sort()
        left = sum(1 for _ in self.groups())
        self.sweep_at = self.made + max(SWEEP, left)

    def groups(self) -> Iterator[Group]:
        """Every group, in order of priority."""
        for level in self.order:
            for line in level.lines.values():
                for shelf in line.shelves.values():
                    yield from shelf.groups.values()
