"""What can go wrong between a client and its server."""

from collections.abc import Sequence

from hpcq.client.shapes import FieldError


class ClientError(Exception):
    """The base of all that the client raises."""


class NoServer(ClientError):
    """Nobody answers at this address, or no longer."""

    def __init__(self, url: str, reason: str = "") -> None:
        self.url = url
        because = f" ({reason})" if reason else ""
        super().__init__(f"no server answers at {url}{because}; start one with `hpcq serve`, or set HPCQ_URL")


class Interrupted(NoServer):
    """The connection broke before the answer came. Whether it was done is unknown; asking again might do it twice."""

    def __init__(self, url: str, what: str) -> None:
        self.url = url
        Exception.__init__(self, f"the connection to {url} broke during `{what}`: it may or may not have been done")


class Problem(ClientError):
    """The server's refusal, RFC 9457; `errors` name the fields by JSON pointers into the body."""

    def __init__(self, status: int, title: str, detail: str = "", errors: Sequence[FieldError] = ()) -> None:
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = list(errors)
        self.body: dict[str, object] = {}
        super().__init__(": ".join(part for part in (title, detail) if part))


class NotFound(ClientError):
    """No job goes by this id, prefix or number."""


class Ambiguous(ClientError):
    """More than one job begins like this."""
