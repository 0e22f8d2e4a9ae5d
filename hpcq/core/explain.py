"""Why a job stands where it stands: every reason that holds, the decisive one first."""

from collections.abc import Callable

from hpcq.core.book import Book
from hpcq.core.estimate import estimated_start
from hpcq.core.groups import Group, Kind
from hpcq.core.job import FRESH, Moment, State, Treatment
from hpcq.core.policy import in_turn
from hpcq.core.queues import Active, Place, Queue
from hpcq.core.record import record

LISTED = 20  # holders that one reason names at most


@record
class Reason:
    """One reason: a code (SHAPES), a sentence, the jobs that stand in the way, and when that ends, if it is known."""

    code: str
    message: str
    holders: tuple[int, ...] = ()
    until: float | None = None  # wall


@record
class Explanation:
    """All reasons, when the job should start, and what would help."""

    state: State
    reasons: list[Reason]
    estimated_start: float | None  # wall
    suggestions: list[str]


@record
class Case:
    """The waiting job that is being explained."""

    book: Book
    job: int
    treatment: Treatment
    kind: Kind
    queue: Queue


def explain(book: Book, job: int, now: Moment) -> Explanation | None:
    """Explain an unfinished job; None: there is no such."""
    active = book.active.get(job)
    if active is not None:
        return Explanation(active.state, [_active(active)], None, [])
    kind = book.waiting(job)
    state = book.state_of(job)
    if kind is None or state is None:
        return None
    case = Case(book, job, kind.treatment, kind, book.queue(kind.treatment.queue))
    reasons = [*_before(case), *(reason for look in LOOKS for reason in look(case))]
    if state is State.QUEUED:
        reasons += _turns(case)
        if not reasons:
            reasons = [Reason("slots_busy", "it is next: it starts with the next decision")]
    suggestions = dict.fromkeys(text for reason in reasons if (text := _suggest(case, reason)) is not None)
    return Explanation(state, reasons, estimated_start(book, job, kind, now), list(suggestions))


def _active(active: Active) -> Reason:
    place = active.place
    if active.stop is not None:
        return Reason("running", f"it is being stopped on slot {place.name}: {active.stop}")
    if not active.leads:
        text = f"slot {place.name} holds it ready: it begins right after the job that runs there"
        return Reason("slots_busy", text, (place.jobs[0].job,))
    verb = "runs" if active.state is State.RUNNING else "is starting"
    return Reason("running", f"it {verb} on slot {place.name}, attempt {active.history.attempt}")


def _before(case: Case) -> list[Reason]:
    """What it must wait for before it may queue at all."""
    book, job = case.book, case.job
    if job in book.blocked:
        parents = tuple(sorted(book.deps.undecided.get(job, ())))
        text = f"it waits for the end of {len(parents)} other job{'s' if len(parents) != 1 else ''}"
        found = [Reason("dependency", text, parents[:LISTED])]
        run_at = book.run_at.get(job)
        return [*found, Reason("delayed", "and then for its run_at", until=run_at)] if run_at is not None else found
    due = book.delays.get(job)
    if due is None:
        return []
    if book.histories.get(job, FRESH).attempt:
        return [Reason("backoff", "its last attempt failed: it is tried again after a pause", until=due)]
    return [Reason("delayed", "it is not to run before its run_at", until=due)]


def _draining(case: Case) -> list[Reason]:
    return [Reason("draining", "the server is going down: nothing starts any more")] if case.book.draining else []


def _runner(case: Case) -> list[Reason]:
    queue, name = case.queue, case.treatment.queue
    if queue.available:
        return []
    return [Reason("runner_unavailable", f"the runner of queue {name} cannot run jobs" + _because(queue.reason))]


def _paused(case: Case) -> list[Reason]:
    settings = case.queue.settings
    if not settings.paused:
        return []
    return [Reason("paused", f"queue {settings.name} is paused" + _because(settings.paused_reason))]


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _matching(case: Case) -> list[Place]:
    places = case.queue.places.values()
    return [place for place in places if place.usable and place.admits(case.treatment.requires)]


def _slots(case: Case) -> list[Reason]:
    """No slot that would do, or none that is free."""
    name, requires = case.treatment.queue, case.treatment.requires
    matching = _matching(case)
    if matching:
        if any(not place.jobs for place in matching):
            return []
        holders = tuple(place.jobs[0].job for place in matching)
        what = f"all {len(matching)} slots" if len(matching) > 1 else "the slot"
        return [
            Reason("slots_busy", f"{what} of queue {name} that it could have {_are(matching)} busy", holders[:LISTED])
        ]
    held = [place for place in case.queue.places.values() if not place.ready and place.admits(requires)]
    if held:
        text = "; ".join(f"{place.name} is held" + _because(place.reason) for place in held[:LISTED])
        return [Reason("no_matching_slot", f"no slot of queue {name} is ready: {text}")]
    if not requires:
        return [Reason("no_matching_slot", f"queue {name} has no slots")]
    wanted = ", ".join(f"{label} = {value!r}" for label, value in requires)
    return [Reason("no_matching_slot", f"no slot of queue {name} has {wanted}")]


def _are(places: list[Place]) -> str:
    return "are" if len(places) > 1 else "is"


def _resources(case: Case) -> list[Reason]:
    """What it asks for and is not free, or kept for an earlier job."""
    return [found for name, amount in case.treatment.resources for found in _resource(case, name, amount)]


def _resource(case: Case, name: str, amount: float) -> list[Reason]:
    capacity = case.book.capacity
    total, free = capacity.totals.get(name, 0), capacity.free.get(name, 0)
    if amount > total:
        return [Reason("resources", f"it asks for {amount:g} {name}, but there are only {total:g}: it can never start")]
    kept = capacity.reserved.get(name)
    if amount > free:
        holders = tuple(
            active.job
            for active in case.book.active.values()
            if active.leads and any(held == name for held, _ in active.place.resources)
        )
        return [Reason("resources", f"it asks for {amount:g} {name}; {free:g} of {total:g} are free", holders[:LISTED])]
    if kept is not None and kept[1] != case.job and kept < (-case.treatment.priority, case.job):
        return [Reason("resources", f"{name} is kept for an earlier job that is short of it", (kept[1],))]
    aside = {job: each for job, each in capacity.aside.get(name, {}).items() if job != case.job}
    if amount > free - sum(aside.values()):
        text = f"of the {free:g} {name} that are free, {sum(aside.values()):g} are kept for an earlier job"
        return [Reason("resources", text, tuple(aside)[:LISTED])]
    return []


def _turns(case: Case) -> list[Reason]:
    """Who comes first, by priority, org, batch or number."""
    levels, treatment = case.queue.levels, case.treatment
    found: list[Reason] = []
    urgent = sum(level.size for level in levels.order if level.priority > treatment.priority)
    level = levels.by_priority[treatment.priority]
    first = next(iter(in_turn(case.queue, level)))
    if first.org_id != treatment.org_id:
        text = "another org is served first: it has fewer jobs running in this queue, or has waited longer"
        found.append(Reason("org_turn", text, (first.head(),)))
    found += _batch_turn(case)
    line = level.lines[treatment.org_id]
    ahead = urgent + _older(case, line.head())
    if ahead and not any(reason.code == "slots_busy" for reason in _slots(case)):
        found.append(
            Reason("slots_busy", f"at least {ahead} waiting job{'s' if ahead > 1 else ''} of its queue come first")
        )
    return found


def _older(case: Case, head: int) -> int:
    """How many of its own group stand before it; at least one where its line has an older head."""
    before = case.kind.group.waiting().index(case.job)
    return before if before or head == case.job else 1


def _batch_turn(case: Case) -> list[Reason]:
    """A slot that goes on with its session's key, or whose turn with this job's key is over."""
    treatment = case.treatment
    line = case.queue.levels.by_priority[treatment.priority].lines[treatment.org_id]
    for place in _matching(case):
        key = place.session_key
        if key is None:
            continue
        if place.spent is not None and place.spent == treatment.session_key:
            others = [head for shelf in line.shelves.values() if (head := _head(shelf.oldest(besides=key))) is not None]
            if others:
                text = f"slot {place.name} has run {place.turns} jobs of {key!r} in a row: another key has its turn"
                return [Reason("batch_turn", text, (min(others),))]
        elif place.spent is None and key != treatment.session_key:
            same = [shelf.groups[key] for shelf in line.shelves.values() if key in shelf.groups]
            younger = [head for group in same if (head := group.head()) is not None and head > case.job]
            if younger:
                text = f"slot {place.name} is prepared for {key!r} and takes some more jobs of it first"
                return [Reason("batch_turn", text, (min(younger),))]
    return []


def _head(group: Group | None) -> int | None:
    return group.head() if group is not None else None


def _suggest(case: Case, reason: Reason) -> str | None:
    """What would help, where somebody could do something."""
    name = case.treatment.queue
    if reason.code == "paused":
        return f"hpcq queues resume {name}"
    if reason.code == "slots_busy" and reason.holders:
        return f"hpcq queues scale {name} {len(case.queue.places) + 1}"
    if reason.code == "runner_unavailable":
        return "hpcq doctor"
    if reason.code == "no_matching_slot":
        return (
            "hpcq doctor" if not case.treatment.requires else f"edit its `requires`, or give queue {name} such a slot"
        )
    if reason.code == "resources" and not reason.holders and not case.book.capacity.possible(case.treatment.resources):
        return "edit its `resources`, or cancel it"
    return None


LOOKS: tuple[Callable[[Case], list[Reason]], ...] = (_draining, _runner, _paused, _slots, _resources)
