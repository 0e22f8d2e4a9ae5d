"""How many connections may be open at a time, and what is said of broken ones."""

import asyncio
import logging

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler, RequestPayloadError

REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s"
)
TEXT = b'{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"too many open connections"}'

log = logging.getLogger("hpcq.http")


def without_noise(record: logging.LogRecord) -> bool:
    """What is no HTTP is answered 400; a traceback of it in the log would only help whoever wants to fill the disk."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError | RequestPayloadError))


log.addFilter(without_noise)


def cap_connections(server: web.Server, limit: int) -> None:
    """Answer connections beyond `limit` with 503 at once, before they have said anything."""
    admit = server.connection_made

    def connection_made(handler: RequestHandler, transport: asyncio.Transport) -> None:
        admit(handler, transport)
        if len(server.connections) > limit:
            transport.write(REFUSAL % (len(TEXT), TEXT))
            transport.close()

    server.connection_made = connection_made  # type: ignore[method-assign]
