"""A simulation that nobody tested proves little: bugs are planted in the core, and every one of them is found.

Without a bug the same plays pass (`test_core_random`, and below). The core's own book is not looked into here: what
finds a bug is what the core does, not how it remembers.
"""

import pytest

from tests.simulation import bugs_of_sharing
from tests.simulation.bugs import BUGS
from tests.simulation.chance import SEEDS, STEPS, Failed, play

assert bugs_of_sharing  # it adds to BUGS

# Plays with more restarts and edits of what runs, and little else that gets in their way.
RESTLESS = {
    "submit": 2, "edit": 4, "crash": 3, "race": 0.2, "bustle": 0.3, "stop": 0.5, "drain": 0.1, "configure": 0.3,
    "offer": 0.3, "runner": 0.3,
}  # fmt: skip
RESTLESS_MOOD, RESTLESS_SEEDS = 60, 10
ONLY_IN_RESTLESS = {"what_an_attached_job_holds_is_taken_from_its_edit", "an_attached_job_gets_other_items"}


def restless(seed: int) -> None:
    """One such play."""
    play(seed, STEPS, inside=False, more=RESTLESS, mood=RESTLESS_MOOD)


@pytest.mark.parametrize("name", BUGS)
def test_the_simulation_finds_a_planted_bug(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[name](monkeypatch)
    try:
        if name in ONLY_IN_RESTLESS:
            for seed in range(RESTLESS_SEEDS):
                restless(seed)
        else:
            for seed in range(SEEDS):
                play(seed, STEPS, inside=False)
    except Failed:
        return
    pytest.fail(f"no play found that {name.replace('_', ' ')}")


def test_restless_plays_pass_without_a_bug() -> None:
    for seed in range(RESTLESS_SEEDS):
        restless(seed)
