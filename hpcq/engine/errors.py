"""What the engine can answer other than yes. The API turns each into one status."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """A JSON pointer into the body, and what is wrong there."""

    pointer: str
    detail: str


class EngineError(Exception):
    """The engine cannot do what was asked."""


class NotFound(EngineError):
    """No such job, queue or schedule, or not one of this org's."""


class Forbidden(EngineError):
    """The caller may not do that."""


class Conflict(EngineError):
    """The thing is not in a state in which that can be done."""


class BadSpec(EngineError):
    """Fields of the request cannot be accepted; `errors` names every one of them."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(f"{error.pointer or '/'}: {error.detail}" for error in errors))
        self.errors = list(errors)


class Unavailable(EngineError):
    """Not now: draining, or the queue's runner could not be loaded."""

    def __init__(self, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class TooMany(EngineError):
    """A limit is reached; later there may be room."""


class OutOfSpace(EngineError):
    """The disk is full: nothing of the request was kept."""


class OutcomeUnknown(EngineError):
    """The disk failed while writing: the request may or may not have been kept. The server stops."""
