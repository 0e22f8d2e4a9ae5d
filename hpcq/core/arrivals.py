"""Jobs that come: submitted, loaded, reopened; and those that are edited, or released from waiting."""

from hpcq.core.book import Book
from hpcq.core.dependencies import Broken, Decided
from hpcq.core.effects import Save
from hpcq.core.events import Edited, Loaded, Reopened, Submitted
from hpcq.core.groups import Kind
from hpcq.core.job import FRESH, Error, ErrorType, History, NewJob, State, Treatment

ENDED = {State.SUCCEEDED: "succeeded", State.FAILED: "failed", State.CANCELLED: "was cancelled"}


def submitted(book: Book, event: Submitted) -> None:
    """New jobs: an array of a hundred thousand comes in slices, so this is the hot loop of a bulk."""
    treatment: Treatment | None = None
    kind: Kind | None = None
    for new in event.jobs:
        if kind is None or new.treatment is not treatment or not kind.held:  # not held: it may have been swept away
            treatment = new.treatment
            kind = book.kind(treatment)
        job = new.job
        if book.knows(job):
            continue
        if new.depends_on or new.run_at is not None or new.expires_at is not None or new.history is not FRESH:
            _admit(book, new, kind, new.history, "job.submitted")
            continue
        kind.held += 1
        book.enqueue(job, kind)
        book.out.append(Save(job, State.QUEUED, FRESH, "job.submitted"))


def reopened(book: Book, event: Reopened) -> None:
    """A final job runs again, with fresh retries."""
    new = event.job
    if not book.knows(new.job):
        history = History(new.history.attempt, reopened=new.history.reopened)
        _admit(book, new, book.kind(new.treatment), history, "job.reopened")


def loaded(book: Book, event: Loaded) -> None:
    """Waiting jobs from the store, a million at a start: only what has changed meanwhile is saved."""
    treatment: Treatment | None = None
    kind: Kind | None = None
    for new in event.jobs:
        if kind is None or new.treatment is not treatment or not kind.held:
            treatment = new.treatment
            kind = book.kind(treatment)
        job = new.job
        if book.knows(job):
            continue
        if new.state is not State.QUEUED and new.state is not State.DELAYED:
            _admit(book, new, kind, new.history, None)
            continue
        kind.held += 1
        if new.expires_at is not None and new.history.attempt == 0:
            book.expiries.set(job, new.expires_at)
        if new.state is State.QUEUED and new.history is FRESH:
            book.enqueue(job, kind)
        elif new.state is State.QUEUED:
            book.put(job, kind, new.history, None, saved=State.QUEUED)
        else:
            book.put(job, kind, new.history, "job.queued", due=new.run_at, saved=State.DELAYED)


def _enter(book: Book, new: NewJob, kind: Kind) -> None:
    kind.held += 1
    if new.expires_at is not None and new.history.attempt == 0:
        book.expiries.set(new.job, new.expires_at)


def _admit(book: Book, new: NewJob, kind: Kind, history: History, event: str | None) -> None:
    """A job comes. Without an event it was loaded, and stood as `blocked` if it waited for others."""
    job = new.job
    _enter(book, new, kind)
    broken = book.deps.enter(job, new.depends_on) if new.depends_on else None
    if broken is None and job not in book.deps.undecided:
        released = "job.queued" if new.depends_on else None
        saved = State.QUEUED if event is None and not new.depends_on and new.run_at is None else None
        book.put(job, kind, history, event or released, due=new.run_at, saved=saved)
        return
    if history != FRESH:
        book.histories[job] = history
    book.block(job, kind, new.run_at)
    if event is not None:
        book.out.append(Save(job, State.BLOCKED, history, event))
    if broken is not None:
        _break(book, job, broken)


def decided(book: Book, decision: Decided) -> None:
    """All that a blocked job waited for has ended, or one of them in the wrong way."""
    job = decision.job
    if decision.broken is not None:
        _break(book, job, decision.broken)
        return
    due_at = book.run_at.get(job)
    book.put(job, book.unwait(job), book.histories.get(job, FRESH), "job.queued", due=due_at)


def _break(book: Book, job: int, broken: Broken) -> None:
    text = f"it was to run on {broken.on} of job {{job}}, which {ENDED[broken.ended]}"
    book.end_waiting(job, State.FAILED, "job.failed", Error(ErrorType.DEPENDENCY, text, broken.parent))


def due(book: Book) -> None:
    """Delays that are over, and jobs that waited too long for their first attempt."""
    for job in book.delays.due(book.now.wall):
        book.put(job, book.unwait(job), book.histories.get(job, FRESH), "job.queued")
    for job in book.expiries.due(book.now.wall):
        text = "its expires_at passed before it could start"
        book.end_waiting(job, State.FAILED, "job.failed", Error(ErrorType.EXPIRED, text))


def edited(book: Book, event: Edited) -> None:
    """Regroup a waiting job, or treat a live one otherwise from now on."""
    job = event.job
    if not book.knows(job):
        return
    kind = book.kind(event.treatment)
    kind.held += 1
    old = book.waiting(job)
    if old is None:
        _edit_live(book, event, kind)
        return
    if book.histories.get(job, FRESH).attempt == 0:
        book.expiries.drop(job)
        if event.expires_at is not None:
            book.expiries.set(job, event.expires_at)
    if job in book.blocked:
        book.reblock(job, kind, event.run_at)
    elif job in book.delayed:
        _edit_delayed(book, event, kind)
    else:
        book.unwait(job)
        book.enqueue(job, kind)
    book.drop(old)


def _edit_delayed(book: Book, event: Edited, kind: Kind) -> None:
    """A `run_at` moves; a back-off is only moved by another time, not ended by none, which the edit has written."""
    job = event.job
    history = book.histories.get(job, FRESH)
    was = book.delays.get(job)
    due_at = was if event.run_at is None and history.attempt else event.run_at
    over = due_at is None or due_at <= book.now.wall
    book.unwait(job)
    saved = State.DELAYED if due_at == was == event.run_at else None
    book.put(job, kind, history, "job.queued" if over else None, due=due_at, saved=saved)


def _edit_live(book: Book, event: Edited, kind: Kind) -> None:
    active = book.active[event.job]
    book.drop(active.kind)
    active.kind = kind
    active.expires = event.expires_at if active.history.attempt == 1 else None
    if active.started is not None and active.stop is None:
        book.timeouts.drop(active.job)
        if kind.treatment.timeout_s is not None:
            book.timeouts.set(active.job, active.started + kind.treatment.timeout_s)
