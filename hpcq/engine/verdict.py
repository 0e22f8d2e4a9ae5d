"""From what a runner returned, raised or handed over to what can be kept."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, get_args

import orjson

from hpcq.engine.host import RunnerFault
from hpcq.engine.testcases import TESTS_BYTES, bounded, to_json, wrong_tests
from hpcq.plugin import Failure, Health, Infra, Outcome, Rejected, RunnerError, Slot, Usage
from hpcq.plugin.types import FailureType

RESULT_BYTES = 64 << 10
MESSAGE_CHARS = 4000
NAME_CHARS = 200
DEVICE_BYTES = 8 << 10
YEAR_S = 365 * 86400.0


def plain(text: str) -> str:
    """The text, at most so long, without what UTF-8 cannot write."""
    return text[:MESSAGE_CHARS].encode("utf-8", "replace").decode()


def said(error: BaseException) -> str:
    """What went wrong, for a sentence. What is no word of ours tells little without its type: KeyError: 'x'."""
    text = plain(str(error))
    if isinstance(error, RunnerError | RunnerFault) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


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
    wrong = (outcome.error is not None and _wrong_failure(outcome.error)) or _wrong_usage(outcome.usage)
    if wrong := wrong or wrong_tests(outcome):
        return _bug(f"the runner returned {wrong}")
    try:
        size = len(orjson.dumps(outcome.result))
    except (TypeError, ValueError) as error:
        return _bug(f"the runner's result is not JSON: {error}")
    if size > RESULT_BYTES:
        return _bug(f"the result has {size} bytes, at most {RESULT_BYTES} are kept; write an artifact instead")
    kept: Outcome = outcome
    if outcome.tests:
        kept = replace(outcome, tests=bounded(outcome.tests))
        if (size := len(to_json(kept.tests))) > TESTS_BYTES:
            return _bug(f"the tests have {size} bytes, at most {TESTS_BYTES} are kept; split the job")
    failure = outcome.error
    return replace(kept, error=replace(failure, message=plain(failure.message))) if failure else kept


def _wrong_failure(error: Failure) -> str | None:
    """What keeps a Failure from being kept, or None."""
    if error.type not in get_args(FailureType):
        return f"a Failure of type {error.type!r:.200}; there are {get_args(FailureType)}"
    if not isinstance(error.message, str):
        return f"a Failure with message {error.message!r:.200}, which is not a str"
    for name, value in (("exit_code", error.exit_code), ("signal", error.signal)):
        if not (value is None or (_is_number(value) and isinstance(value, int))):
            return f"a Failure with {name} {value!r:.200}, which is no small int"
    wait = error.retry_after_s
    if not (wait is None or (_is_number(wait) and 0 <= wait <= YEAR_S)):
        return f"a Failure with retry_after_s {wait!r:.200}, which is no number of seconds from 0 to a year"
    if not isinstance(error.worker_died, bool):
        return f"a Failure with worker_died {error.worker_died!r:.200}, which is not a bool"
    return None


def _wrong_usage(usage: Any) -> str | None:
    if usage is None:
        return None
    if not isinstance(usage, Usage):
        return f"usage {usage!r:.200}, which is not a Usage"
    for name, value in (("max_rss_mb", usage.max_rss_mb), ("cpu_s", usage.cpu_s)):
        if not (value is None or _is_number(value)):
            return f"a Usage with {name} {value!r:.200}, which is no finite number"
    return None


def _is_number(value: Any) -> bool:
    """What JSON can say and a client can read back."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and abs(value) < 2**63 if isinstance(value, float) else abs(value) < 2**63


# What a runner hands over by itself.


def checked_health(health: Any) -> Health:
    """A Health of which all can be shown; one that says what is wrong with it otherwise."""
    if not isinstance(health, Health):
        return Health(False, plain(f"health answered {health!r:.200}, which is not a Health"))
    if not isinstance(health.ready, bool) or not isinstance(health.message, str):
        return Health(False, plain(f"health answered {health!r:.500}; `ready` must be a bool, `message` a str"))
    return replace(health, message=plain(health.message))


def checked_reason(reason: Any) -> str:
    """A sentence that can be kept. Raises TypeError."""
    if not isinstance(reason, str):
        raise TypeError(f"pause: the reason is {reason!r:.200}; it must be a str, a sentence for who resumes the queue")
    return plain(reason)


def checked_slots(slots: Any) -> tuple[Slot, ...]:
    """Slots that the core can work with. Raises TypeError and ValueError with a sentence."""
    if not isinstance(slots, Iterable):
        raise TypeError(f"set_slots: {slots!r:.200} is not a list of Slot")
    checked_ones = tuple(_checked_slot(slot) for slot in slots)
    names = [slot.name for slot in checked_ones]
    if len(set(names)) < len(names):
        raise ValueError(f"set_slots: slots must have different names, these are {', '.join(names):.500}")
    return checked_ones


def _checked_slot(slot: Any) -> Slot:
    if not isinstance(slot, Slot):
        raise TypeError(f"set_slots: {slot!r:.200} is not a Slot")
    name, labels = slot.name, slot.labels
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= NAME_CHARS:
        raise ValueError(f"set_slots: the name {name!r:.300} is not 1 to {NAME_CHARS} printable characters")
    if not isinstance(labels, Mapping):
        raise TypeError(f"set_slots: the labels of slot {name} are {labels!r:.200}; they must map str to str")
    if not all(isinstance(part, str) for pair in labels.items() for part in pair):
        raise TypeError(f"set_slots: the labels of slot {name}, {dict(labels)!r:.200}, must map str to str")
    if slot.state not in ("ready", "held"):
        raise ValueError(f"set_slots: the state of slot {name} is {slot.state!r:.200}; there are ready and held")
    if not isinstance(slot.reason, str):
        raise TypeError(f"set_slots: the reason of slot {name} is {slot.reason!r:.200}; it must be a str")
    if slot.device is not None:
        _check_device(slot)
    kept = {plain(label): plain(value) for label, value in labels.items()}
    return replace(slot, labels=kept, reason=plain(slot.reason))


def _check_device(slot: Slot) -> None:
    """It can be shown. Raises TypeError, ValueError."""
    if not isinstance(slot.device, Mapping):
        raise TypeError(f"set_slots: the device of slot {slot.name} is {slot.device!r:.200}; it must be a mapping")
    try:
        size = len(orjson.dumps(dict(slot.device)))
    except TypeError as error:
        raise TypeError(f"set_slots: the device of slot {slot.name} is not JSON: {error}") from None
    if size > DEVICE_BYTES:
        raise ValueError(f"set_slots: the device of slot {slot.name} has {size} bytes of JSON, at most {DEVICE_BYTES}")
