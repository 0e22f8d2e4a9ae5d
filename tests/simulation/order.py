"""Whether a start is the right one: DESIGN's order, told as what must not wait while this job starts."""

from collections.abc import Iterable

from hpcq.core.effects import Start
from hpcq.core.job import Treatment
from tests.simulation.bench import Bench, Lane, Place
from tests.simulation.ledger import Row

EPSILON = 1e-6


def eligible(bench: Bench, other: Row, treatment: Treatment, place: Place) -> bool:
    """Whether this waiting job could have had the slot in the other's stead: it needs the same, or nothing."""
    needs = other.treatment.resources
    return (
        other.treatment.queue == treatment.queue
        and place.admits(other.treatment)
        and needs in ((), treatment.resources)
        and bench.avoid.get(other.job) != place.name
    )


def check_start(bench: Bench, start: Start, row: Row, queued: Iterable[Row]) -> None:
    """Raises AssertionError if something else should have had this slot first. `queued`: without this job."""
    lane = bench.lanes[start.queue]
    place = bench.place(start.queue, start.slot)
    what = f"job {row.job} starts on {place.name}"
    assert not bench.draining, f"{what}, and the server is draining"
    assert lane.runnable, f"{what}, and its queue is paused or has no runner"
    assert place.usable, f"{what}, which is not to be used"
    assert row.treatment.queue == lane.settings.name, f"{what}, of another queue"
    assert place.admits(row.treatment), f"{what}, which lacks what it requires"
    assert bench.possible(row.treatment), f"{what} and asks for more than there is"
    others = list(queued)
    rivals = [other for other in others if eligible(bench, other, row.treatment, place)]
    if place.held:
        _claim(bench, start, row, others, what)
    else:
        _resources(bench, start, row.treatment, what)
        _reserved(bench, row, others, what)
        urgent = [other.job for other in rivals if other.treatment.priority > row.treatment.priority]
        assert not urgent, f"{what} before the more urgent {urgent}"
        _session(lane, place, row, bench, what)
    level = [other for other in rivals if other.treatment.priority == row.treatment.priority]
    _org(bench, lane, row, level, others, what)
    _batch(lane, place, row, [other for other in level if other.treatment.org_id == row.treatment.org_id], bench, what)


def _resources(bench: Bench, start: Start, treatment: Treatment, what: str) -> None:
    free = bench.free()
    short = [name for name, amount in treatment.resources if amount > free.get(name, 0) + EPSILON]
    assert not short, f"{what}: there is not enough {short}"
    given = dict(start.items)
    assert set(given) == {name for name, _ in treatment.resources if name in bench.items}, f"{what} with items {given}"
    for name, amount in treatment.resources:
        if name in given:
            taken = {item for place in bench.places() for each, held in place.items if each == name for item in held}
            assert len(given[name]) == amount, f"{what} with {given[name]} for {amount:g} {name}"
            assert not taken & set(given[name]), f"{what}: of {name}, others have {taken & set(given[name])}"


def _reserved(bench: Bench, row: Row, others: list[Row], what: str) -> None:
    """Behind a job that does not fit, nothing may take a resource that it is short of."""
    free = bench.free()
    for other in others:
        wanted = other.treatment
        if wanted.priority <= row.treatment.priority or not bench.possible(wanted):
            continue
        lane = bench.lanes[wanted.queue]
        if not lane.runnable or not any(_idle(place, wanted) for place in lane.places.values()):
            continue
        short = {name for name, amount in wanted.resources if amount > free.get(name, 0) + EPSILON}
        taken = short & {name for name, _ in row.treatment.resources}
        assert not taken, f"{what} with {taken}, of which the more urgent job {other.job} is short"


def _idle(place: Place, treatment: Treatment) -> bool:
    return place.usable and not place.held and place.admits(treatment)


def _session(lane: Lane, place: Place, row: Row, bench: Bench, what: str) -> None:
    """A slot that has the job's session, and whose turn with it lasts, is better than one that has not."""
    key = row.treatment.session_key
    if key is None or place.key == key or row.job in bench.avoid:
        return
    better = [
        other.name
        for other in lane.places.values()
        if _idle(other, row.treatment) and other.key == key and other.turns < lane.settings.batch_size
    ]
    assert not better, f"{what}, and {better} has its session"


def _org(bench: Bench, lane: Lane, row: Row, level: list[Row], others: list[Row], what: str) -> None:
    """The org with the fewest running, then the longest unserved, then the one with the oldest job."""
    running, served = lane.running(), lane.served

    def turn(org_id: str, job: int) -> tuple[int, int, int]:
        treatment = row.treatment
        heads = [
            other.job
            for other in others
            if (other.treatment.queue, other.treatment.priority, other.treatment.org_id)
            == (treatment.queue, treatment.priority, org_id)
        ]
        return running[org_id], served.get(org_id, 0), min([*heads, job])

    mine = turn(row.treatment.org_id, row.job)
    for other in level:
        org_id = other.treatment.org_id
        if org_id != row.treatment.org_id:
            assert turn(org_id, other.job) > mine, f"{what} and it is the turn of {org_id}, job {other.job}"


def _batch(lane: Lane, place: Place, row: Row, line: list[Row], bench: Bench, what: str) -> None:
    """The batch rule, then number. `line`: others of the same queue, priority and org that could have had the slot."""
    if place.name in bench.avoid.values():
        return  # the slot that is avoided comes last, whatever it has prepared
    key, mine = place.key, row.treatment.session_key
    same = [other.job for other in line if other.treatment.session_key == key]
    rest = [other.job for other in line if other.treatment.session_key != key]
    lasts = place.turns < lane.settings.batch_size
    if key is None:
        before = [*same, *rest]
    elif mine == key:
        assert lasts or not rest, f"{what} after {place.turns} of {key!r} in a row, before {rest} of other keys"
        before = same
    else:
        assert not (lasts and same), f"{what}, which is prepared for {key!r}, before {same} of that key"
        before = rest
    older = [job for job in before if job < row.job]
    assert not older, f"{what} before the older {older}"


def _claim(bench: Bench, start: Start, row: Row, others: list[Row], what: str) -> None:
    """A claim ahead is of its leader's priority, resources and session, and goes before nothing more urgent."""
    place = bench.place(start.queue, start.slot)
    lane, leader = bench.lanes[start.queue], place.held[0]
    what += f" as a claim behind {leader.job}"
    assert len(place.held) <= lane.settings.ahead, f"{what}: it has {len(place.held) - 1} already"
    assert leader.stop is None, f"{what}, which is being stopped"
    assert row.treatment.priority == leader.ran_as.priority, f"{what} of another priority"
    assert row.treatment.resources == place.resources, f"{what}, and needs other resources"
    assert row.treatment.session_key == leader.ran_as.session_key, f"{what}, of another session"
    assert start.items == place.items, f"{what}, with other items"
    _passed_over(bench, row, place, others, what)
    for other in others:
        wanted = other.treatment
        if wanted.queue == lane.settings.name and wanted.priority > row.treatment.priority and place.admits(wanted):
            assert not bench.possible(wanted), f"{what}, before the more urgent {other.job}"


def _passed_over(bench: Bench, row: Row, place: Place, others: list[Row], what: str) -> None:
    """An older job of the same line that lacks nothing but the slot gets it next: no claim may go before it."""
    free = bench.free()
    if place.name in bench.avoid.values():
        return  # a group whose first job avoids the slot comes last as a whole: only heads are looked at
    for other in others:
        asked = other.treatment
        if _line(asked) != _line(row.treatment) or other.job > row.job or place.key is not None:
            continue
        if not place.admits(asked):
            continue
        names = {name for name, amount in asked.resources if amount <= free.get(name, 0)}
        if len(names) == len(asked.resources) and not any(_wants(bench, each, names, other) for each in others):
            raise AssertionError(f"{what}, before job {other.job}, which lacks nothing but the slot")


def _line(treatment: Treatment) -> tuple[object, ...]:
    return treatment.queue, treatment.priority, treatment.org_id, treatment.session_key


def _wants(bench: Bench, row: Row, names: set[str], than: Row) -> bool:
    """Whether this job comes before the other, and asks for something of the same."""
    asked = row.treatment
    earlier = (-asked.priority, row.job) < (-than.treatment.priority, than.job)
    return row is not than and earlier and bool(names & {name for name, _ in asked.resources})
