"""Values that are made by the hundred thousand."""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """A dataclass that is frozen to the type checker only.

    The guard of `frozen=True` at run time makes a `Save` six times as dear (2.5 µs for 0.4), and was half of all
    the core's time. Nothing may change a record after it is made.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
