"""Hypothesis drives the core through its door, and finds the shortest way to whatever goes wrong."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, rule
from hypothesis.strategies import integers

from tests.simulation.play import Play
from tests.simulation.settle import settle

ANY = integers(min_value=0, max_value=2**48)


class CoreMachine(RuleBasedStateMachine):
    """Each rule is one action of a play, which checks everything after every step; at the end all must run out."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Play()

    @rule(n=ANY)
    def submit(self, n: int) -> None:
        self.stage.submit(n)

    @rule(n=ANY)
    def submit_and_start(self, n: int) -> None:
        self.stage.submit(n)
        self.stage.round(0)
        self.stage.begin(n)
        self.stage.deliver(n)

    @rule(n=ANY)
    def go_on(self, n: int) -> None:
        """Something begins, ends, and is heard of."""
        for action in (self.stage.begin, self.stage.deliver, self.stage.end, self.stage.deliver, self.stage.round):
            action(n)

    @rule(n=ANY)
    def end_a_round(self, n: int) -> None:
        self.stage.round(n)

    @rule(n=ANY)
    def begin(self, n: int) -> None:
        self.stage.begin(n)

    @rule(n=ANY)
    def end(self, n: int) -> None:
        self.stage.end(n)

    @rule(n=ANY)
    def deliver(self, n: int) -> None:
        self.stage.deliver(n)

    @rule(n=ANY)
    def deliver_something_stale(self, n: int) -> None:
        self.stage.stale(n)

    @rule(n=ANY)
    def cancel(self, n: int) -> None:
        self.stage.cancel(n)

    @rule(n=ANY)
    def edit(self, n: int) -> None:
        self.stage.edit(n)

    @rule(n=ANY)
    def reopen(self, n: int) -> None:
        self.stage.reopen(n)

    @rule(n=ANY)
    def renew(self, n: int) -> None:
        self.stage.renew(n)

    @rule(n=ANY)
    def stop(self, n: int) -> None:
        self.stage.stop(n)

    @rule(n=ANY)
    def let_time_pass(self, n: int) -> None:
        self.stage.wait(n)

    @rule(n=ANY)
    def set_the_wall_clock(self, n: int) -> None:
        self.stage.jump(n)

    @rule(n=ANY)
    def change_a_queue(self, n: int) -> None:
        for action in (self.stage.configure, self.stage.offer, self.stage.runner, self.stage.release):
            action(n)
            n //= 7

    @rule(n=ANY)
    def drain(self, n: int) -> None:
        self.stage.drain(n)

    @rule(n=ANY)
    def crash(self, n: int) -> None:
        self.stage.crash(n)

    def teardown(self) -> None:
        settle(self.stage.life)


# Derandomised: the same examples every time, so that a busy machine or an unlucky day decides nothing.
profile: Any = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TestTheCoreKeepsItsPromises = CoreMachine.TestCase
TestTheCoreKeepsItsPromises.settings = profile
