"""Which job is next in a queue, and on which slot: only the heads of groups are looked at.

Priority; then the org with the fewest running in the queue, then the longest unserved; then the batch rule; then
number.
"""

from collections.abc import Collection, Container, Iterable, Mapping

from hpcq.core.capacity import Resources
from hpcq.core.groups import Group, Level, Line, Shelf
from hpcq.core.queues import Place, Queue
from hpcq.core.record import record

# The session that a job would find on a slot, best first.
SAME, NONE, OTHER = 0, 1, 2

Offer = tuple[int, int, int]  # 1 where the slot has failed this job before, job, session: the least is best


@record
class Choice:
    """This job is next, on this slot."""

    job: int
    group: Group
    place: Place


def next_job(queue: Queue, unfit: Container[Resources], avoid: Mapping[int, str]) -> Choice | None:
    """The next job for one of the idle slots; `unfit`: what need not be tried any more, because it does not fit."""
    for level in queue.levels.order:
        if level.size:
            for line in in_turn(queue, level):
                choice = _choose(line, queue.idle.values(), unfit, avoid)
                if choice is not None:
                    return choice
    return None


def next_for(
    queue: Queue, level: Level, place: Place, unfit: Container[Resources], avoid: Mapping[int, str]
) -> Choice | None:
    """The next job of one priority for one slot, as if that were free."""
    for line in in_turn(queue, level):
        choice = _choose(line, (place,), unfit, avoid)
        if choice is not None:
            return choice
    return None


def in_turn(queue: Queue, level: Level) -> Iterable[Line]:
    """The lines of a level that have jobs, in the order of their orgs' turns."""
    if len(level.lines) == 1:
        return level.lines.values()
    lines = [line for line in level.lines.values() if line.size]
    if len(lines) > 1:
        running, served = queue.running, queue.served
        lines.sort(key=lambda line: (running.get(line.org_id, 0), served.get(line.org_id, 0), line.head(), line.org_id))
    return lines


def _choose(
    line: Line, places: Collection[Place], unfit: Container[Resources], avoid: Mapping[int, str]
) -> Choice | None:
    shelves = [shelf for shelf in line.shelves.values() if shelf.oldest() is not None and shelf.resources not in unfit]
    if not shelves:
        return None
    if len(shelves) == 1 and not avoid and (choice := _plain(shelves[0], places)) is not None:
        return choice
    ideal = (0, min([shelf.heap[0][0] for shelf in shelves]), SAME)
    best: Offer | None = None
    chosen: tuple[Group, Place] | None = None
    for place in places:
        found = _offer(shelves, place, avoid)
        if found is not None and (best is None or found[0] < best):
            best, chosen = found[0], (found[1], place)
            if best == ideal:
                break
    if best is None or chosen is None:
        return None
    return Choice(best[1], *chosen)


def _plain(shelf: Shelf, places: Collection[Place]) -> Choice | None:
    """The common case, quickly: the oldest job has no session key, and the first slot no session."""
    job, _, group = shelf.heap[0]
    place = next(iter(places))
    if group.session_key is None and place.session_key is None and place.admits(shelf.requires):
        return Choice(job, group, place)
    return None


def _offer(shelves: list[Shelf], place: Place, avoid: Mapping[int, str]) -> tuple[Offer, Group] | None:
    """What this slot would best take of a line: its own key while its turn lasts, else the oldest of the others."""
    key, spent = place.session_key, place.spent
    own: tuple[Offer, Group] | None = None
    others: tuple[Offer, Group] | None = None
    for shelf in shelves:
        if shelf.requires and not place.admits(shelf.requires):
            continue
        group = shelf.groups.get(key) if key is not None else None
        if group is not None and group.size:
            own = _better(own, _rate(group, place, avoid))
        group = shelf.oldest(besides=spent)
        if group is not None:
            others = _better(others, _rate(group, place, avoid))
    if own is not None and spent is None and own[0][0] == 0:
        return own
    return others or own


def _rate(group: Group, place: Place, avoid: Mapping[int, str]) -> tuple[Offer, Group]:
    job = group.head()
    assert job is not None
    session = SAME if group.session_key == place.session_key else NONE if place.session_key is None else OTHER
    return (int(bool(avoid) and avoid.get(job) == place.name), job, session), group


def _better(old: tuple[Offer, Group] | None, new: tuple[Offer, Group]) -> tuple[Offer, Group]:
    return new if old is None or new[0] < old[0] else old
