"""Where a list goes on: opaque to clients."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

from hpcq.core.record import record


class BadCursor(ValueError):
    """Not a cursor of this list."""


@record
class Cursor:
    """The last job that was shown, and the way the list runs."""

    job: int
    ascending: bool


def encode(cursor: Cursor) -> str:
    """The text for clients."""
    text = f"{'a' if cursor.ascending else 'd'}{cursor.job}"
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(text: str, *, ascending: bool) -> int:
    """The job after which the list goes on. Raises BadCursor."""
    try:
        plain = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)).decode("ascii")
    except ValueError:
        plain = ""
    way, digits = plain[:1], plain[1:]
    if (
        way not in ("a", "d")
        or not digits.isdigit()
        or len(digits) > 18
        or encode(Cursor(int(digits), way == "a")) != text
    ):
        raise BadCursor(f"{text[:100]!r} is no cursor; use next_cursor of the page before, or leave it out")
    if (way == "a") != ascending:
        raise BadCursor("the cursor belongs to a list in the other order; start again without it")
    return int(digits)
