"""Job ids: UUIDv7, increasing within a process, so that a list by id is a list by age."""

import os
import time

_last = 0  # the upper half of the newest id: milliseconds, version, and 12 bits that count on within a millisecond


def uuid7() -> str:
    """A new id."""
    global _last  # noqa: PLW0603  (one process, one sequence)
    upper = int(time.time() * 1000) << 16 | 0x7000
    if upper <= _last:
        upper = _last + 1 if _last & 0xFFF != 0xFFF else (_last >> 16) + 1 << 16 | 0x7000
    _last = upper
    lower = os.urandom(8).hex()
    variant = "89ab"[int(lower[0], 16) & 3]
    text = f"{upper:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:]}-{variant}{lower[1:4]}-{lower[4:]}"
