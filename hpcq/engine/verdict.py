"""From what a runner returned or raised to an outcome that can be kept."""

from dataclasses import astuple, replace
from typing import Any, get_args

import orjson

from hpcq.engine.host import RunnerFault
from hpcq.plugin import Failure, Infra, Outcome, Rejected
from hpcq.plugin.types import FailureType

RESULT_BYTES = 64 << 10
MESSAGE_CHARS = 4000


def plain(text: str) -> str:
    """The text, at most so long, without what UTF-8 cannot write."""
    return text[:MESSAGE_CHARS].encode("utf-8", "replace").decode()


def failure_of(error: BaseException) -> Outcome:
    """The outcome that an exception out of a runner means."""
    text = str(error) or type(error).__name__
    if isinstance(error, Rejected):
        return Outcome(error=Failure("rejected", plain(text)))
    if isinstance(error, Infra):
        return Outcome(error=Failure("infra", plain(text)))
    if isinstance(error, RunnerFault):
        return _bug(f"the runner {text}")
    return _bug(f"the runner raised {type(error).__name__}: {text}")


def _bug(message: str) -> Outcome:
    return Outcome(error=Failure("exception", plain(message)))


def checked(outcome: Any) -> Outcome:
    """The outcome if it has the right shape and fits; else the failure that says what is wrong with it."""
    if not isinstance(outcome, Outcome) or not (outcome.error is None or isinstance(outcome.error, Failure)):
        return _bug(f"the runner returned {outcome!r:.200}, which is not an Outcome")
    error, usage = outcome.error, outcome.usage
    if error is not None and error.type not in get_args(FailureType):
        return _bug(f"the runner returned a Failure of type {error.type!r:.200}; there are {get_args(FailureType)}")
    try:
        size = len(orjson.dumps(outcome.result))
        orjson.dumps([astuple(part) for part in (error, usage) if part is not None])
    except (TypeError, ValueError) as wrong:
        return _bug(f"the runner's outcome is not JSON: {wrong}")
    if size > RESULT_BYTES:
        return _bug(f"the result has {size} bytes, at most {RESULT_BYTES} are kept; write an artifact instead")
    return replace(outcome, error=replace(error, message=plain(error.message))) if error else outcome
