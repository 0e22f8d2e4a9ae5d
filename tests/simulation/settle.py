"""The end of a play: everything that can run is run, and no job may be left over without a reason."""

from hpcq.core import events as e
from hpcq.core.job import Moment, State
from tests.simulation.life import Life
from tests.simulation.play import QUEUES, slots_of
from tests.simulation.restart import How, restart

ROUNDS = 100  # and some more for each job that is left
ROUNDS_A_JOB = 10


def settle(life: Life) -> None:
    """Run what can run, first as things stand, then with every queue open again."""
    life.round()
    _run_out(life)
    if life.bench.draining:
        restart(life, How.DROPPED, 0)
    for name, settings in QUEUES.items():
        life.send(e.QueueChanged(settings))
        life.send(e.SlotsOffered(name, slots_of(name, 2)))
        life.send(e.RunnerChanged(name, True))
    _run_out(life)


def _run_out(life: Life) -> None:
    """Rounds until nothing happens any more."""
    rounds = ROUNDS + ROUNDS_A_JOB * len(life.ledger.open)
    for _ in range(rounds):
        moved = _deliver(life)
        for where in life.floor.busy():
            life.floor.begin(where, life.now.wall)
            life.floor.end(where, e.Finished(0, 0, run_s=0.001))
            moved = True
        life.round()
        if not moved and not life.floor.busy() and not life.floor.letters() and not _skip(life):
            _check_left(life)
            return
    raise AssertionError(f"after {rounds} rounds it is still not quiet: {life.core.wakes()}")


def _deliver(life: Life) -> bool:
    letters = life.floor.letters()
    for where in letters:
        while life.floor.mail[where]:
            life.deliver(where)
    return bool(letters)


def _skip(life: Life) -> bool:
    """Go to the next time at which something is due; False: there is none."""
    wall, mono = life.core.wakes()
    if wall is None and mono is None:
        return False
    now = life.now
    later = Moment(max(now.wall, wall or now.wall), max(now.mono, mono or now.mono))
    life.now = later
    life.send(e.Ticked())
    return True


def _check_left(life: Life) -> None:
    """Whoever is left waits for a person, a slot, more resources, or another such job."""
    for row in life.ledger.unfinished():
        assert not row.live, f"job {row.job} is {row.state} on {row.slot}, where nothing lives"
        assert row.state is not State.DELAYED, f"job {row.job} is delayed, and no time is awaited"
        assert life.why(row), f"job {row.job} is {row.state} for ever, and for no reason"
        if row.state is State.BLOCKED:
            parents = {need.job for need in row.depends_on}
            assert parents & set(life.ledger.open), f"job {row.job} waits for {parents}, which have ended"
    assert not life.bench.lives, f"{life.bench.lives} hold slots"
