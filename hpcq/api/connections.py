"""How many connections may be open at a time."""

import asyncio

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s"
)
TEXT = b'{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"too many open connections"}'


def cap_connections(server: web.Server, limit: int) -> None:
    """Answer connections beyond `limit` with 503 at once, before they have said anything."""
    admit = server.connection_made

    def connection_made(handler: "RequestHandler", transport: asyncio.Transport) -> None:
        admit(handler, transport)
        if len(server.connections) > limit:
            transport.write(REFUSAL % (len(TEXT), TEXT))
            transport.close()

    server.connection_made = connection_made  # type: ignore[method-assign]
