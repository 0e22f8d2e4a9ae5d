"""Times as clients see them."""

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(4096)
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def timestamp(wall: float | None) -> str | None:
    """RFC 3339 in UTC, with milliseconds."""
    if wall is None:
        return None
    whole, micros = divmod(round(wall * 1_000_000), 1_000_000)  # by way of what a float can tell: .29 stays .290
    return f"{_second(whole)}.{micros // 1000:03}Z"
