"""HTTP to the byte, where a client library would be too polite."""

import socket
from contextlib import closing
from urllib.parse import urlsplit

import orjson


class RawAnswer:
    """A status line, headers (lower-case names) and a body."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @property
    def json(self) -> dict[str, object]:
        document: dict[str, object] = orjson.loads(self.body)
        return document


def connect(url: str, timeout_s: float = 30.0) -> socket.socket:
    """A connection to the server at `url`."""
    place = urlsplit(url)
    return socket.create_connection((place.hostname or "", place.port or 80), timeout_s)


def exchange(url: str, request: bytes) -> RawAnswer:
    """Send bytes, read all until the server has answered; the request should ask it to close the connection."""
    with closing(connect(url)) as sock:
        sock.sendall(request)
        return RawAnswer(read_all(sock))


def read_all(sock: socket.socket) -> bytes:
    """Everything until the other end closes."""
    data = b""
    try:
        while chunk := sock.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return data


def request(method: str, target: str, headers: list[tuple[str, str]], body: bytes = b"") -> bytes:
    """A request that asks to close; no header is added but Content-Length for a body."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "Connection: close"]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
