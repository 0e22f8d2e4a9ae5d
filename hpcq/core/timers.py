"""Deadlines by job: the ends of delays, expiries, timeouts and leases."""

from heapq import heapify, heappop, heappush, heapreplace


class Timers:
    """Times on one clock, one a job. One that is moved or dropped leaves its heap entry behind, which is skipped."""

    __slots__ = ("_heap", "_when")

    def __init__(self) -> None:
        self._when: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._when)

    def __contains__(self, job: int) -> bool:
        return job in self._when

    def jobs(self) -> list[int]:
        """All that have a time."""
        return list(self._when)

    def get(self, job: int) -> float | None:
        """When the job's time comes; None: it has none."""
        return self._when.get(job)

    def set(self, job: int, when: float) -> None:
        """Give the job a time, in place of the one it has."""
        old = self._when.get(job)
        self._when[job] = when
        if old is None or when < old:
            heappush(self._heap, (when, job))
            if len(self._heap) > 2 * len(self._when) + 64:
                self._heap = [(time, each) for each, time in self._when.items()]
                heapify(self._heap)

    def drop(self, job: int) -> None:
        """The job's time shall not come."""
        self._when.pop(job, None)

    def due(self, now: float) -> list[int]:
        """The jobs whose time has come, earliest first; they have none any more."""
        jobs: list[int] = []
        while self._heap and self._heap[0][0] <= now:
            _, job = heappop(self._heap)
            when = self._when.get(job)
            if when is None:
                continue
            if when > now:
                heappush(self._heap, (when, job))
                continue
            del self._when[job]
            jobs.append(job)
        return jobs

    def next(self) -> float | None:
        """The earliest time; None: nothing is awaited."""
        while self._heap:
            when, job = self._heap[0]
            actual = self._when.get(job)
            if actual == when:
                return when
            if actual is None:
                heappop(self._heap)
            else:
                heapreplace(self._heap, (actual, job))
        return None
