"""The web application, and the server settings that belong to it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from hpcq.api import (
    blobs,
    compat,
    connections,
    devices,
    docs_page,
    events,
    files,
    guard,
    jobs,
    many,
    metrics,
    openapi,
    queues,
    schedules,
    server,
    tests,
)
from hpcq.api.table import bind

if TYPE_CHECKING:
    from hpcq.config import Settings
    from hpcq.engine.engine import Engine

# Fixed paths stand before those with a {name} that would match them too.
ROUTES = (
    *server.ROUTES,
    *metrics.ROUTES,
    *many.ROUTES,
    *jobs.ROUTES,
    *files.ROUTES,
    *tests.ROUTES,
    *blobs.ROUTES,
    *queues.ROUTES,
    *devices.ROUTES,
    *schedules.ROUTES,
    *events.ROUTES,
    *compat.ROUTES,
)

IDLE_S = 20.0  # a connection that is idle, or has not sent a request's head in so long, is closed
LINGER_S = 5.0  # how long the rest of a refused body is read and thrown away

FAREWELL_S = 2.0  # how long requests that still wait for something may go on at the end


def build_app(engine: "Engine", settings: "Settings") -> web.Application:
    """All routes behind the door."""
    door = guard.Door(settings.server.allowed_hosts, same_user=settings.server.same_user)
    app = web.Application(middlewares=[guard.middleware(door)], client_max_size=settings.limits.body_bytes)
    routes = [route for route in ROUTES if settings.server.compat or route not in compat.ROUTES]
    for route in routes:
        for path in route.paths:
            app.router.add_route(route.method, path, bind(route, engine, settings), expect_handler=route.expect)
    for path in docs_page.PATHS:
        app.router.add_get(path, docs_page.serve)
    app.router.add_get("/openapi.json", docs_page.document(openapi.document(routes, _params(engine))))
    app.cleanup_ctx.append(metrics.running(engine))
    return app


async def start_site(app: web.Application, settings: "Settings") -> web.AppRunner:
    """Serve on the configured address. `runner.addresses` says which; `await runner.cleanup()` ends it."""
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=connections.log,
        keepalive_timeout=IDLE_S,
        lingering_time=LINGER_S,
        shutdown_timeout=FAREWELL_S,
        handle_signals=False,
    )
    await runner.setup()
    if runner.server:
        connections.cap_connections(runner.server, settings.limits.connections)
    await web.TCPSite(runner, settings.server.host, settings.server.port).start()
    return runner


def _params(engine: "Engine") -> Mapping[str, dict[str, Any]]:
    return {name: lane.params_schema for name, lane in engine.lanes.items()}
