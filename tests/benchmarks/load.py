"""An HTTP load of its own process: keep-alive connections that each send a request when the one before is answered.

`python -m tests.benchmarks.load URL PATH CONNECTIONS REQUESTS < body` prints
{"seconds", "p50_ms", "p99_ms", "statuses"}.
"""

import asyncio
import json
import statistics
import sys
import time
from urllib.parse import urlsplit


async def _client(
    host: str, port: int, request: bytes, left: list[int], took: list[float], seen: dict[str, int]
) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    while left[0] > 0:
        left[0] -= 1
        began = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        took.append(time.perf_counter() - began)
        status = head[9:12].decode()
        seen[status] = seen.get(status, 0) + 1
    writer.close()


async def drive(url: str, path: str, connections: int, requests: int, body: bytes) -> dict[str, object]:
    """Send so many requests over so many connections."""
    place = urlsplit(url)
    head = f"POST {path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
    request = head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    left, took, seen = [requests], [], {}  # type: ignore[var-annotated]
    began = time.perf_counter()
    clients = (_client(place.hostname or "", place.port or 80, request, left, took, seen) for _ in range(connections))
    await asyncio.gather(*clients)
    seconds = time.perf_counter() - began
    cuts = statistics.quantiles(took, n=100)
    return {"seconds": seconds, "p50_ms": 1e3 * cuts[49], "p99_ms": 1e3 * cuts[98], "statuses": seen}


if __name__ == "__main__":
    url_, path_, connections_, requests_ = sys.argv[1:]
    body_ = sys.stdin.buffer.read()
    print(json.dumps(asyncio.run(drive(url_, path_, int(connections_), int(requests_), body_))))
