"""Job ids: UUIDv7, increasing within a process, so that a list by id is a list by age."""

import random
import time

_bits = random.getrandbits  # an id must be unique, not secret
_last = 0  # the upper half of the newest id: milliseconds, version, and 12 bits that count on within a millisecond


def uuid7() -> str:
    """A new id."""
    global _last  # noqa: PLW0603  (one process, one sequence)
    upper = int(time.time() * 1000) << 16 | 0x7000
    if upper <= _last:
        upper = _last + 1 if _last & 0xFFF != 0xFFF else (_last >> 16) + 1 << 16 | 0x7000
    _last = upper
    digits = f"{upper << 64 | 0x8000000000000000 | _bits(62):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
