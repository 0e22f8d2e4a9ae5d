"""Deadlines by job: the ends of delays, expiries, timeouts and leases."""

from heapq import heapify, heappop, heappush, heapreplace


class Timers:
    """Times on one clock, one a job. One that is moved or dropped leaves its heap entry behind, which is skipped."""

    __slots__ = ("_heap", "when")

    def __init__(self) -> None:
        self.when: dict[int, float] = {}  # read it; change it only by `set` and `drop`
        self._heap: list[tuple[float, int]] = []

    def jobs(self) -> list[int]:
        """All that have a time."""
        return list(self.when)

    def get(self, job: int) -> float | None:
        """When the job's time comes; None: it has none."""
        return self.when.get(job)

    def set(self, job: int, when: float) -> None:
        """Give the job a time, in place of the one it has."""
        old = self.when.get(job)
        self.when[job] = when
        if old is None or when < old:
            heappush(self._heap, (when, job))
            if len(self._heap) > 2 * len(self.when) + 64:
                self._heap = [(time, each) for each, time in self.when.items()]
                heapify(self._heap)

    def drop(self, job: int) -> None:
        """The job's time shall not come."""
        self.when.pop(job, None)

    def due(self, now: float) -> list[int]:
        """The jobs whose time has come, earliest first; they have none any more."""
        jobs: list[int] = []
        while self._heap and self._heap[0][0] <= now:
            _, job = heappop(self._heap)
            when = self.when.get(job)
            if when is None:
                continue
            if when > now:
                heappush(self._heap, (when, job))
                continue
            del self.when[job]
            jobs.append(job)
        return jobs

    def next(self) -> float | None:
        """The earliest time; None: nothing is awaited."""
        while self._heap:
            when, job = self._heap[0]
            actual = self.when.get(job)
            if actual == when:
                return when
            if actual is None:
                heappop(self._heap)
            else:
                heapreplace(self._heap, (actual, job))
        return None
