"""Plays at random, repeatable by their seed."""

from random import Random

from tests.simulation.play import Play
from tests.simulation.settle import settle

SEEDS, STEPS = 24, 250  # of the normal run
# How often each action is taken, relative to the others.
WEIGHTS = {
    "submit": 7, "cancel": 2, "edit": 3, "reopen": 3, "begin": 16, "end": 14, "deliver": 30, "stale": 4, "renew": 4,
    "stop": 2, "drain": 0.3, "wait": 7, "jump": 0.5, "configure": 2, "offer": 1.5, "runner": 1, "release": 1,
    "round": 22, "crash": 2,
}  # fmt: skip


class Failed(AssertionError):
    """A play that went wrong, with what repeats it."""


def play(seed: int, steps: int, *, inside: bool = True) -> Play:
    """Play so many steps from this seed, then let everything run out."""
    random = Random(seed)
    names, weights = list(WEIGHTS), list(WEIGHTS.values())
    # Each play has a mood: some actions are rare in it, others frequent.
    weights = [weight * random.choice((0.3, 1, 1, 1, 2.5)) for weight in weights]
    stage = Play(inside=inside)
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
