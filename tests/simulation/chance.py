"""Plays at random, repeatable by their seed."""

from collections.abc import Mapping
from random import Random

from tests.simulation.play import Play
from tests.simulation.settle import settle

SEEDS, STEPS = 30, 400  # of the normal run
# How often each action is taken, relative to the others.
WEIGHTS = {
    "submit": 11, "cancel": 2, "edit": 3, "reopen": 3, "begin": 16, "end": 14, "deliver": 30, "stale": 4, "renew": 8,
    "stop": 2, "drain": 0.2, "wait": 7, "jump": 0.4, "configure": 2, "offer": 1.5, "runner": 1, "release": 1,
    "round": 22, "crash": 3, "race": 4, "bustle": 10, "watch": 2,
}  # fmt: skip
MOODS = (0.3, 1.0, 1.0, 1.0, 2.5)  # each play has its own: some actions are rare in it, others frequent


class Failed(AssertionError):
    """A play that went wrong, with what repeats it."""


def play(
    seed: int, steps: int, *, inside: bool = True, more: Mapping[str, float] | None = None, mood: int | None = None
) -> Play:
    """Play so many steps from this seed, then let everything run out.

    `more`: actions that are more frequent, by what factor; `mood`: the play's, rather than any.
    """
    random = Random(seed)
    factors = more or {}
    names = list(WEIGHTS)
    weights = [WEIGHTS[name] * factors.get(name, 1.0) * random.choice(MOODS) for name in names]
    stage = Play(random.getrandbits(48) if mood is None else mood, inside=inside)
    step = 0
    try:
        for step in range(steps):  # noqa: B007
            name = random.choices(names, weights)[0]
            getattr(stage, name)(random.getrandbits(48))
        settle(stage.life)
    except Exception as error:
        last = "\n  ".join(stage.life.log)
        text = f"seed {seed} failed at step {step} of {steps}: {error!r}\nthe last events:\n  {last}"
        raise Failed(text) from error
    return stage
