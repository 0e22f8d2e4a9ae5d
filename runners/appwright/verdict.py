"""What the end of a run means. Exit code 1 says little: the report tells failed tests from a broken setup."""

import re
import signal
from collections import Counter

from hpcq.plugin import JSON, Exit, Failure
from hpcq.plugin.types import FailureType
from hpcq_runners.appwright.params import AppwrightParams
from hpcq_runners.appwright.report import Report
from hpcq_runners.appwright.words import LINE_CHARS, brief, plain
from hpcq_runners.command import failure_of

MESSAGE_CHARS = 2_000
INTERRUPTED = 130
LAST_LINES = 5
ERROR = re.compile(r"[ \t]*(?:\w*Error|Error \[.*\]): ")  # at the start of a line
NONE_FOUND = "No tests found"  # as Playwright says it
# Setups that throw one of these found the machine or the network wanting; any other mistake is the project's own.
MACHINE = re.compile(
    r"\b(EADDRINUSE|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|ENOSPC|EMFILE|ENFILE|ENOMEM|"
    r"ANDROID_HOME|JAVA_HOME)\b|\[BROWSERSTACK_[A-Z_]+\]"
)
HINTS = (
    (
        re.compile(r'Fixture "device" cannot be overridden'),
        "AppWright does not work with this version of Playwright: `npm i -D @playwright/test@1.47.2` (up to 1.59.1)",
    ),
    (
        re.compile(r"Requiring @playwright/test second time"),
        "two copies of @playwright/test are installed: `npm ls @playwright/test` shows them",
    ),
    (
        re.compile(r"\b(ANDROID_HOME|JAVA_HOME)\b"),
        'put `env = {{ {0} = "/its/folder" }}` under the queue in the server\'s config file and restart the server, or '
        "give the job `--env {0}=/its/folder`",
    ),
)


def counts(report: Report) -> JSON:
    """A result without its tests, which the server adds."""
    found = Counter(test.status for test in report.tests)
    figures = {status: found[status] for status in ("passed", "failed", "flaky", "skipped")}
    return {**figures, "duration_s": round(report.duration_s, 3)}


def failure(exit_: Exit, report: Report, params: AppwrightParams, *, retried: int) -> Failure | None:
    """None: all is well. `retried`: so many tests were asked for, as the ones that were left; 0: all."""
    if report.over and (exit_.signal is not None or exit_.code == INTERRUPTED):
        return Failure("timeout", _stopped(report), signal=exit_.signal or int(signal.SIGINT))
    if exit_.signal is not None:
        return failure_of(exit_)
    if exit_.code == INTERRUPTED:  # and not because one test's failure or the time for all ended the others
        return Failure("signal", _stopped(report), signal=int(signal.SIGINT))
    if report.failed:
        text = f"{len(report.failed)} of {len(report.tests)} tests failed"
        return Failure("exit", text, exit_code=exit_.code)
    if exit_.code == 0:
        return None
    return _beside_tests(exit_, report, params, retried=retried)


def without_report(exit_: Exit, reason: str, log: str) -> Failure:
    """A run that wrote no report: `log` is the end of what it printed."""
    if exit_.signal is not None:
        return failure_of(exit_) or Failure("signal", reason)
    if exit_.code == INTERRUPTED:
        return Failure("signal", "stopped before any test had begun", signal=int(signal.SIGINT))
    return _classified(said(log) or f"Playwright ended with exit code {exit_.code}, and {reason}", exit_)


def _stopped(report: Report) -> str:
    under_way = f" while running {report.interrupted[0]}" if report.interrupted else ""
    return f"stopped{under_way}"[:MESSAGE_CHARS]


def _beside_tests(exit_: Exit, report: Report, params: AppwrightParams, *, retried: int) -> Failure:
    if not report.errors:
        flaky = sum(test.status == "flaky" for test in report.tests)
        text = _stopped(report) if report.interrupted else f"exit code {exit_.code}"
        text = f"{flaky} flaky tests, and --fail-on-flaky-tests" if flaky else text
        return Failure("exit", text, exit_code=exit_.code)
    causes = [error for error in report.errors if NONE_FOUND not in error]  # which a failed import also leads to
    if not causes:
        if retried:
            left = f"none of the {retried} tests that were left to run is in {params.test_path} any more"
            return Failure("exit", f"{left}: it has changed", exit_code=exit_.code)
        return Failure("exit", no_tests(params), exit_code=exit_.code)
    if report.tests:
        return Failure("exit", brief(causes[0]), exit_code=exit_.code)
    return _classified(causes[0], exit_)


def no_tests(params: AppwrightParams) -> str:
    """That there are none in what was asked for."""
    among = f" of project {params.project}" if params.project else ""
    matching = f" whose title matches {params.grep!r}" if params.grep else ""
    return f"no tests found in {params.test_path}{among}{matching}: see testDir and testMatch in the project's config"


def _classified(error: str, exit_: Exit) -> Failure:
    """A run in which nothing was tested."""
    text = brief(error)
    for pattern, hint in HINTS:
        if found := pattern.search(error):
            text = f"{text}: {hint.format(found[0])}"
            break
    kind: FailureType = "infra" if MACHINE.search(error) else "exit"
    return Failure(kind, text, exit_code=exit_.code)


def said(log: str) -> str:
    """The error in what a run has printed; its last lines if none says that it is one."""
    lines = plain(log, len(log) + 1).splitlines()
    first = next((at for at, line in enumerate(lines) if ERROR.match(line[:LINE_CHARS])), -LAST_LINES)
    return "\n".join(lines[first:]).strip()
