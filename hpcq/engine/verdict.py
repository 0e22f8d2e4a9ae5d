"""From what a runner returned or raised to an outcome that can be kept."""

from typing import Any

import orjson

from hpcq.engine.host import RunnerFault
from hpcq.plugin import Failure, Infra, Outcome, Rejected

RESULT_BYTES = 64 << 10
MESSAGE_CHARS = 4000


def failure_of(error: BaseException) -> Outcome:
    """The outcome that an exception out of a runner means."""
    text = str(error) or type(error).__name__
    if isinstance(error, Rejected):
        return Outcome(error=Failure("rejected", text[:MESSAGE_CHARS]))
    if isinstance(error, Infra):
        return Outcome(error=Failure("infra", text[:MESSAGE_CHARS]))
    if isinstance(error, RunnerFault):
        return Outcome(error=Failure("exception", f"the runner {text}"[:MESSAGE_CHARS]))
    message = f"the runner raised {type(error).__name__}: {text}"
    return Outcome(error=Failure("exception", message[:MESSAGE_CHARS]))


def checked(outcome: Any) -> Outcome:
    """The outcome if it has the right shape and fits; else the failure that says what is wrong with it."""
    if not isinstance(outcome, Outcome) or not (outcome.error is None or isinstance(outcome.error, Failure)):
        return Outcome(error=Failure("exception", f"the runner returned {outcome!r:.200}, which is not an Outcome"))
    try:
        size = len(orjson.dumps(outcome.result))
    except TypeError as error:
        return Outcome(error=Failure("exception", f"the runner's result is not JSON: {error}"), usage=outcome.usage)
    if size > RESULT_BYTES:
        message = f"the result has {size} bytes, at most {RESULT_BYTES} are kept; write an artifact instead"
        return Outcome(error=Failure("exception", message), tests=outcome.tests, usage=outcome.usage)
    return outcome
