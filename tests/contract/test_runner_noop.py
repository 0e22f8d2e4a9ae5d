"""The noop runner takes the exam."""

from hpcq.plugin.testing import RunnerContract
from hpcq_runners.noop import NoopRunner


class TestNoop(RunnerContract):
    runner = NoopRunner
    succeeds = {"message": "well"}
    fails = {"fail": True}
    lasts = {"duration_s": 600}
    result = {"message": "well"}
    fails_with = "exit"
    reports = True
