"""The limit for submits: bare aiohttp that answers after a group commit to SQLite, FULL. No validation, no scheduling.

`python -m tests.benchmarks.bare_server FILE` prints its port. POST / keeps one body, POST /bulk the lines of one, and
POST /twice commits two times, as a job's submit and its end do.
"""

import asyncio
import queue
import sqlite3
import sys
import threading
from typing import Any

from aiohttp import web

Waiting = tuple[list[bytes], asyncio.Future[None]]


def _writer(path: str, inbox: "queue.SimpleQueue[Waiting]", loop: asyncio.AbstractEventLoop) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE jobs (job INTEGER PRIMARY KEY, body BLOB)")
    while True:
        batch = [inbox.get()]
        while not inbox.empty():
            batch.append(inbox.get())
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO jobs (body) VALUES (?)", [(body,) for bodies, _ in batch for body in bodies])
        db.execute("COMMIT")
        loop.call_soon_threadsafe(lambda done=batch: [future.set_result(None) for _, future in done])  # type: ignore[misc]


async def main(path: str) -> None:
    loop = asyncio.get_running_loop()
    inbox: queue.SimpleQueue[Waiting] = queue.SimpleQueue()
    threading.Thread(target=_writer, args=(path, inbox, loop), daemon=True).start()

    async def keep(bodies: list[bytes]) -> web.Response:
        future: asyncio.Future[None] = loop.create_future()
        inbox.put((bodies, future))
        await future
        return web.Response(status=201, body=b"{}", content_type="application/json")

    async def one(request: web.Request) -> web.Response:
        return await keep([await request.read()])

    async def many(request: web.Request) -> web.Response:
        return await keep((await request.read()).splitlines())

    async def twice(request: web.Request) -> web.Response:
        body = await request.read()
        await keep([body])
        return await keep([body])

    app = web.Application(client_max_size=1 << 28)
    app.router.add_post("/", one)
    app.router.add_post("/bulk", many)
    app.router.add_post("/twice", twice)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    forever: asyncio.Future[Any] = loop.create_future()
    await forever


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
