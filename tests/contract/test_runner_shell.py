"""The shell runner takes the exam."""

from hpcq.plugin.testing import RunnerContract
from hpcq_runners.shell import ShellRunner


class TestShell(RunnerContract):
    runner = ShellRunner
    succeeds = {"command": "echo moo; echo kept > milk.txt; echo '[1]' > $HPCQ_RESULT", "artifacts": ["*.txt"]}
    fails = {"command": ["false"]}
    lasts = {"command": "echo '{\"done\": 1}' > $HPCQ_PROGRESS; sleep 600"}
    result = [1]
    fails_with = "exit"
    prints = b"moo"
    leaves = ("milk.txt",)
    reports = True


class TestShellAgainstAStubbornCommand(RunnerContract):
    runner = ShellRunner
    succeeds = {"command": ["true"]}
    fails = {"command": ["no-such-program"]}
    lasts = {"command": "trap '' TERM; (setsid sleep 600 &); while :; do sleep 0.1; done"}
    fails_with = "exit"
    grace_s = 0.2
