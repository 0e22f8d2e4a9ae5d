"""The numbers that jobs get."""

from hpcq.store.rows import Counters


class Numbers:
    """The last numbers given out."""

    def __init__(self, counters: Counters) -> None:
        self.job = counters.job
        self.by_org = dict(counters.numbers)

    def next_jobs(self, count: int) -> list[int]:
        """All of a submit at once: they outlive what is made beside them, and so lie together in memory."""
        first, self.job = self.job + 1, self.job + count
        return list(range(first, self.job + 1))

    def next_number(self, org_id: str) -> int:
        self.by_org[org_id] = number = self.by_org.get(org_id, 0) + 1
        return number
