"""The core lives through random plays: crashes, late and repeated messages, stops, edits, clocks that jump.

A seed repeats its play exactly: `SIMULATION_SEEDS=24 pytest tests/simulation/test_core_random.py`, or a range of them,
`SIMULATION_SEEDS=1000:2000`; `SIMULATION_STEPS` sets how long each play is.
"""

import os

import pytest

from tests.simulation.chance import SEEDS, STEPS, play

LONG_SEEDS, LONG_STEPS = 300, 1500


def _seeds() -> range:
    first, _, last = os.environ.get("SIMULATION_SEEDS", f"0:{SEEDS}").partition(":")
    return range(int(first), int(last) if last else int(first) + 1)


@pytest.mark.parametrize("seed", _seeds())
def test_every_promise_holds_at_every_step_of_a_random_play(seed: int) -> None:
    stage = play(seed, int(os.environ.get("SIMULATION_STEPS", STEPS)))
    assert stage.last_job > 0


def test_a_seed_repeats_its_play() -> None:
    first, second = play(7, 100).life, play(7, 100).life
    assert first.ledger.rows == second.ledger.rows
    assert list(first.log) == list(second.log)


@pytest.mark.benchmark
def test_every_promise_holds_in_hundreds_of_long_plays() -> None:
    for seed in range(10_000, 10_000 + LONG_SEEDS):
        play(seed, LONG_STEPS)
