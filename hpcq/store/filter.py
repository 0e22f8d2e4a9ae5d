"""What a list of jobs can be narrowed by."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Filter:
    """All that is given must hold; within a tuple, one of them. Tags must all be there."""

    states: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    org_id: str | None = None
    name: str | None = None
    text: str | None = None  # a part of the name, the id or the error, in any case of letters
    tags: tuple[tuple[str, str], ...] = ()
    batch_key: str | None = None
    error_type: str | None = None
    finished_after: float | None = None
    number: int | None = None
