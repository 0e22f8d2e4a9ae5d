"""What the box has to share: resources with amounts, some with named items, and what is kept for whom."""

from collections.abc import Mapping

Resources = tuple[tuple[str, float], ...]  # (name, amount), sorted by name
Items = tuple[tuple[str, tuple[str, ...]], ...]  # ("gpu", ("0",))
Rank = tuple[int, int]  # (-priority, job): the order between queues

DIGITS = 6  # amounts are rounded to a millionth, so that 0.1 taken and given back three times leaves nothing over


class Capacity:
    """Totals, what is free of them, and for whom a scarce one is reserved."""

    def __init__(self, totals: Mapping[str, float], items: Mapping[str, tuple[str, ...]]) -> None:
        self.totals = dict(totals)
        self.free = dict(totals)
        self.items = {name: tuple(each) for name, each in items.items()}
        self.free_items = {name: list(each) for name, each in items.items()}
        self.reserved: dict[str, Rank] = {}  # the earliest job that waits for this resource, as of the last decision
        self.aside: dict[str, dict[int, float]] = {}  # amounts kept for jobs that only lack a slot, likewise

    def possible(self, resources: Resources) -> bool:
        """Whether it would fit if nothing else ran."""
        return all(amount <= self.totals.get(name, 0) for name, amount in resources)

    def spare(self, name: str) -> float:
        """What is free of it, and not kept for a job that only lacks a slot."""
        free = self.free.get(name, 0)
        return free - sum(self.aside[name].values()) if name in self.aside else free

    def short_of(self, resources: Resources) -> tuple[str, ...]:
        """The names of which less is to be had than is asked for."""
        return tuple(name for name, amount in resources if amount > self.spare(name))

    def fits(self, resources: Resources) -> bool:
        """Whether it can be taken now, and nothing of it is kept for another."""
        return all(name not in self.reserved and amount <= self.spare(name) for name, amount in resources)

    def forget_kept(self) -> None:
        """A new decision: nothing is kept for anybody yet."""
        self.reserved = {}
        self.aside = {}

    def keep(self, resources: Resources, names: tuple[str, ...], rank: Rank) -> None:
        """Keep these for a job that has no slot now: all of what it is short of, else as much as it asks for."""
        for name, amount in resources:
            if name in names and amount > self.free.get(name, 0):
                self.reserve((name,), rank)
            elif name in names:
                self.aside.setdefault(name, {})[rank[1]] = amount

    def reserve(self, names: tuple[str, ...], rank: Rank) -> None:
        """Keep these for the job of that rank; what is kept for an earlier one stays so."""
        for name in names:
            self.reserved.setdefault(name, rank)

    def take(self, resources: Resources, held: Items = ()) -> Items:
        """Take the amounts; of a resource with named items, those that are `held` already, else the first free ones.

        The items are returned.
        """
        taken: list[tuple[str, tuple[str, ...]]] = []
        for name, amount in resources:
            self.free[name] = round(self.free.get(name, 0) - amount, DIGITS)
            if name in self.items:
                rest = self.free_items[name]
                mine = [item for each, items in held for item in items if each == name and item in rest]
                mine = mine or rest[: int(amount)]
                taken.append((name, tuple(mine)))
                self.free_items[name] = [item for item in rest if item not in mine]
        return tuple(taken)

    def give_back(self, resources: Resources, items: Items) -> None:
        """The opposite of `take`."""
        for name, amount in resources:
            self.free[name] = round(self.free[name] + amount, DIGITS)
        for name, returned in items:
            self.free_items[name] = [
                item for item in self.items[name] if item in self.free_items[name] or item in returned
            ]
