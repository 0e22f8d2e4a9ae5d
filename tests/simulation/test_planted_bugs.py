"""A simulation that nobody tested proves little: bugs are planted in the core, and every one of them is found.

Without a bug the same plays pass (`test_core_random`). The core's own book is not looked into here: what finds a bug
is what the core does, not how it remembers.
"""

import pytest

from tests.simulation import bugs_of_sharing
from tests.simulation.bugs import BUGS
from tests.simulation.chance import SEEDS, STEPS, Failed, play

assert bugs_of_sharing  # it adds to BUGS


@pytest.mark.parametrize("name", BUGS)
def test_the_simulation_finds_a_planted_bug(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[name](monkeypatch)
    for seed in range(SEEDS):
        try:
            play(seed, STEPS, inside=False)
        except Failed:
            return
    pytest.fail(f"{SEEDS} plays did not find that {name.replace('_', ' ')}")
