"""What the end of a test run means, where the farm had a hand in it."""

import random
import re
from dataclasses import replace

from hpcq.plugin import Failure, Outcome, TestCase
from hpcq.plugin.types import FailureType
from hpcq_runners.device_farm.api import FarmError

FULL_S = 30.0  # before the next try, when others have taken the sessions
# In an error's text. BrowserStack's codes stand in brackets; the others are those of WebDriver's client.
FULL = re.compile(
    r"\[BROWSERSTACK_(QUEUE_SIZE_EXCEEDED|TIER_LIMIT_EXCEEDED|PARALLEL_LIMIT[A-Z_]*|ALL_PARALLELS[A-Z_]*)\]"
    r"|parallel (test|session)s? limit|queue (size|limit) exceeded",
    re.IGNORECASE,
)
DROPPED = re.compile(
    r"\[BROWSERSTACK_(INVALID_APP_CAP|APP_DELETED|APP_NOT_FOUND)\]|app (not found|has been deleted)", re.I
)
DENIED = re.compile(
    r"\[BROWSERSTACK_(INVALID_CREDENTIALS|UNAUTHORI[SZ]ED|AUTH[A-Z_]*)\]|invalid username or (password|access key)"
    r"|(status|code)\D{0,3}401\b|\bunauthori[sz]ed\b|authorization required",
    re.IGNORECASE,
)
THROTTLED = re.compile(r"(status|code)\D{0,3}429\b|\b429 too many requests", re.IGNORECASE)
NO_SESSION = re.compile(r"failed to create (a |the )?session|session not created", re.IGNORECASE)
BROKEN = re.compile(
    r"\b(502|503|504)\b|bad gateway|service unavailable|gateway time-?out"
    r"|unable to connect to|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|socket hang up",
    re.IGNORECASE,
)


def trouble_in(outcome: Outcome, title: str) -> FarmError | None:
    """What the farm did to a run that failed; None: nothing, the tests failed by themselves.

    kind gone: the farm has dropped the app.
    """
    if outcome.error is None:
        return None
    texts = [outcome.error.message, *(test.error for test in outcome.tests if test.error)]
    for text in texts:
        found = _trouble(text, title)
        if found is not None:
            return found
    return None


def _trouble(text: str, title: str) -> FarmError | None:
    line = next((line.strip() for line in text.splitlines() if "[BROWSERSTACK_" in line), text.strip())[:300]
    if FULL.search(text):
        return FarmError("busy", f"{title} is full: {line}", FULL_S * random.uniform(0.5, 1.0))
    if DROPPED.search(text):
        return FarmError("gone", f"{title} has dropped the build: {line}")
    if not NO_SESSION.search(text):
        return None
    if DENIED.search(text):
        return FarmError("credentials", f"{title} refused the credentials (401)")
    if THROTTLED.search(text):
        return FarmError("busy", f"{title} asked for a pause (429)", FULL_S * random.uniform(0.5, 1.0))
    return FarmError("broken", f"{title} opened no session: {line}") if BROKEN.search(text) else None


def spoilt(test: TestCase, title: str) -> bool:
    """It failed, and that was the farm's doing: it says nothing about the test."""
    return test.status == "failed" and _trouble(test.error or "", title) is not None


def outcome_of(error: FarmError, outcome: Outcome | None = None) -> Outcome:
    """A refused request is the job's own mistake; all else is not its fault."""
    kind: FailureType = "rejected" if error.kind == "refused" else "infra"
    failure = Failure(kind, str(error), retry_after_s=error.retry_after_s)
    return replace(outcome, error=failure) if outcome else Outcome(error=failure)
