"""What is true of the core at all times. `check` after any event, `check_assigned` after `assign`."""

from collections import Counter

from hpcq.core.book import Book
from hpcq.core.job import ACTIVE, State, StopReason
from hpcq.core.queues import Active, Place, Queue
from hpcq.core.scheduler import Scheduler


def check(scheduler: Scheduler) -> None:
    """Everything that one event must leave as it should be; raises AssertionError."""
    book = scheduler.book
    _one_place_each(book)
    _groups(book)
    _counts(book)
    _slots(book)
    _resources(book)
    _dependencies(book)
    _clocks(book)
    _nothing_left_behind(book)


def check_assigned(scheduler: Scheduler) -> None:
    """What holds besides when free slots have just been given away."""
    check(scheduler)
    book = scheduler.book
    for queue in book.queues.values():
        _work_conserved(book, queue)
        _urgent_first(book, queue)


def _one_place_each(book: Book) -> None:
    places = Counter[int]()
    for each in (book.queued, book.blocked, book.delayed, book.active):
        places.update(each.keys())
    twice = [job for job, n in places.items() if n > 1]
    assert not twice, f"jobs {twice} stand in more than one place"
    for job in places:
        assert book.state_of(job) is not None
    for job, active in book.active.items():
        assert active.job == job
        assert active.state in ACTIVE, f"job {job} holds a slot and is {active.state}"


def _groups(book: Book) -> None:
    seen: list[int] = []
    for name, queue in book.queues.items():
        total = 0
        for group in queue.levels.groups():
            jobs = group.waiting()
            shelf, line, level = group.shelf, group.shelf.line, group.shelf.line.level
            assert len(jobs) == group.size, f"a group of {name} counts {group.size} jobs and has {jobs}"
            assert group.head() == (jobs[0] if jobs else None)
            assert len(group.jobs) + len(group.early) <= 2 * group.size + 66 + len(jobs), "tombstones pile up"
            for job in jobs:
                treatment = book.queued[job].treatment
                assert treatment.queue == name
                assert treatment.priority == level.priority
                assert treatment.org_id == line.org_id
                assert (treatment.resources, treatment.requires) == (shelf.resources, shelf.requires)
                assert treatment.session_key == group.session_key
            seen += jobs
            total += len(jobs)
        assert queue.levels.size == total
        for level in queue.levels.order:
            assert level.size == sum(line.size for line in level.lines.values())
            for line in level.lines.values():
                assert line.size == sum(
                    group.size for shelf in line.shelves.values() for group in shelf.groups.values()
                )
                for shelf in line.shelves.values():
                    heads = [head for group in shelf.groups.values() if (head := group.head()) is not None]
                    oldest = shelf.oldest()
                    assert (oldest.head() if oldest else None) == min(heads, default=None), "a shelf lost its oldest"
        assert [level.priority for level in queue.levels.order] == sorted(queue.levels.by_priority, reverse=True)
    assert sorted(seen) == sorted(book.queued), "a queued job stands in no group, or in two"


def _counts(book: Book) -> None:
    blocked = Counter(kind.treatment.queue for kind in book.blocked.values())
    delayed = Counter(kind.treatment.queue for kind in book.delayed.values())
    held: Counter[int] = Counter()
    for waiting in (book.queued, book.blocked, book.delayed):
        held.update(id(kind) for kind in waiting.values())
    held.update(id(active.kind) for active in book.active.values())
    for kind in book.kinds.values():
        assert kind.held == held[id(kind)], f"{kind.treatment} is held by {held[id(kind)]} jobs and counts {kind.held}"
    assert set(held) <= {id(kind) for kind in book.kinds.values()}, "a job has a kind that was forgotten"
    for name, queue in book.queues.items():
        assert queue.blocked == blocked[name], f"queue {name} counts {queue.blocked} blocked, has {blocked[name]}"
        assert queue.delayed == delayed[name], f"queue {name} counts {queue.delayed} delayed, has {delayed[name]}"
        running = Counter(active.ran_as.org_id for active in queue.active())
        assert queue.running == dict(running), f"queue {name} counts {queue.running} running, has {dict(running)}"
        assert queue.claims == sum(max(0, len(place.jobs) - 1) for place in queue.places.values())


def _slots(book: Book) -> None:
    held: list[int] = []
    for queue in book.queues.values():
        for name, place in queue.places.items():
            assert place.name == name
            assert place.queue is queue
            _slot(queue, place)
            held += [active.job for active in place.jobs]
        idle = {name for name, place in queue.places.items() if place.usable and not place.jobs}
        assert set(queue.idle) == idle, f"idle slots are {sorted(idle)}, counted as {sorted(queue.idle)}"
    assert sorted(held) == sorted(book.active), "an active job has no slot, or two"


def _slot(queue: Queue, place: Place) -> None:
    running = [active.job for active in place.jobs if active.state is State.RUNNING]
    assert len(running) <= 1, f"slot {place.name} runs {running}"
    assert not running or place.jobs[0].job == running[0], f"slot {place.name} runs a claim before its turn"
    assert not place.gone or place.jobs, f"slot {place.name} is gone, idle and still there"
    for active in place.jobs:
        assert active.place is place
        assert active.ran_as.queue == queue.settings.name, "a job runs in another queue's slot"
        assert (active.stop is not None) == (active.state is State.CANCELLING)
    for claim in place.jobs[1:]:
        leader = place.jobs[0].ran_as
        assert claim.ran_as.priority == leader.priority, f"claim {claim.job} is of another priority"
        assert claim.ran_as.resources == place.resources, f"claim {claim.job} would not inherit what it needs"
        assert claim.ran_as.session_key == leader.session_key, f"claim {claim.job} is of another session"


def _resources(book: Book) -> None:
    taken: Counter[str] = Counter()
    items: Counter[tuple[str, str]] = Counter()
    for queue in book.queues.values():
        for place in queue.places.values():
            if not place.jobs:
                assert place.resources == (), f"slot {place.name} holds resources and no job"
                continue
            assert place.resources == place.jobs[0].ran_as.resources
            for name, amount in place.resources:
                taken[name] += amount  # type: ignore[assignment]
            for name, each in place.items:
                items.update((name, item) for item in each)
    capacity = book.capacity
    for name in {*capacity.free, *taken}:
        free = capacity.totals.get(name, 0) - taken[name]
        assert abs(capacity.free.get(name, 0) - free) < 1e-4, (
            f"{name}: {capacity.free.get(name)} free, should be {free}"
        )
    assert all(n == 1 for n in items.values()), f"items are held twice: {items}"
    for name, every in capacity.items.items():
        used = {item for each, item in items if each == name}
        assert used.isdisjoint(capacity.free_items[name])
        assert used | set(capacity.free_items[name]) == set(every), f"items of {name} are lost"


def _dependencies(book: Book) -> None:
    assert set(book.deps.undecided) == set(book.blocked), "blocked jobs and undecided dependencies differ"
    coming = {(parent, job) for parent, _, jobs in book.deps.worklist for job in jobs}
    for job, waits in book.deps.undecided.items():
        assert waits, f"job {job} is blocked and waits for nothing"
        for parent in waits:
            listed = job in book.deps.dependents.get(parent, ())
            assert listed or (parent, job) in coming, f"job {job} would never hear of the end of {parent}"
    assert set(book.run_at) <= set(book.blocked)


def _clocks(book: Book) -> None:
    assert set(book.delays.jobs()) == set(book.delayed), "a delayed job has no time, or another has one"
    for job in book.expiries.jobs():
        assert book.waiting(job) is not None, f"job {job} may expire, and does not wait"
        history = book.histories.get(job)
        assert history is None or history.attempt == 0, f"job {job} may expire, and was started"
    for job, active in book.active.items():
        if active.state is State.RUNNING:
            assert job in book.leases.when, f"job {job} runs without a lease"
            assert (job in book.timeouts.when) == (active.kind.treatment.timeout_s is not None)
    for job in (*book.leases.jobs(), *book.timeouts.jobs()):
        assert job in book.active, f"a clock runs for job {job}, which has no slot"
    for timers in (book.delays, book.expiries, book.leases, book.timeouts):
        nearest = min((when for job in timers.jobs() if (when := timers.get(job)) is not None), default=None)
        assert timers.next() == nearest, "the next time is not the nearest"


def _nothing_left_behind(book: Book) -> None:
    for job in (*book.histories, *book.avoid):
        assert book.waiting(job) is not None, f"something is remembered of job {job}, which does not wait"


def _work_conserved(book: Book, queue: Queue) -> None:
    """No idle slot beside a job that it could run, unless what that needs is kept for another."""
    if book.draining or not queue.runnable:
        assert not any(active.recallable for active in queue.active()), "a claim was not asked back"
        return
    for place in queue.idle.values():
        for group in queue.levels.groups():
            if group.head() is not None and place.admits(group.shelf.requires):
                assert not book.capacity.fits(group.shelf.resources), (
                    f"slot {place.name} is idle beside job {group.head()}"
                )


def _urgent_first(book: Book, queue: Queue) -> None:
    """No claim stands in the way of something more urgent without being asked back."""
    for place in queue.places.values():
        for claim in place.jobs[1:]:
            assert place.admits(claim.ran_as.requires) or _given_back(claim)
            for group in queue.levels.groups():
                if group.head() is None or not place.admits(group.shelf.requires):
                    continue
                if group.shelf.line.level.priority > claim.ran_as.priority:
                    possible = book.capacity.possible(group.shelf.resources)
                    assert _given_back(claim) or not possible, f"claim {claim.job} goes before job {group.head()}"


def _given_back(claim: Active) -> bool:
    return claim.recalling or claim.begun or claim.stop is not None


def check_stop(old: StopReason | None, new: StopReason | None) -> None:
    """The first reason wins, but cancel overrides."""
    assert old is None or new is old or new is StopReason.CANCEL, f"stop reason {old} became {new}"
