"""LambdaTest's API; its hub is BrowserStack's route, as both are WebDriver's."""

import uuid

from aiohttp import web

from tests.support.fake_farm.farm import BODY, FakeFarm, Upload, answer

API = "/mobile-automation/api/v1"


def routes(farm: FakeFarm) -> list[web.RouteDef]:
    """All that it answers."""

    async def concurrency(_: web.Request) -> web.Response:
        running = len(farm.live) + farm.others
        return answer({"data": {"max_concurrency": farm.allowed, "running": running, "queued": 0}, "status": "success"})

    async def sessions(_: web.Request) -> web.Response:
        found = [{"session_id": each.id, "name": each.name, "status_ind": "running"} for each in farm.live]
        return answer({"data": found})

    async def rename(request: web.Request) -> web.Response:
        session = farm.sessions[request.match_info["id"]]
        session.name = request[BODY].get("name", session.name)
        return answer({"data": {"name": session.name}})

    async def upload(request: web.Request) -> web.Response:
        body, url = request[BODY], f"lt://APP{uuid.uuid4().int}"
        file = body.get("appFile") or {"filename": body.get("url"), "sha256": ""}
        farm.uploads.append(Upload(url, "app", file["filename"], file["sha256"]))
        return answer({"app_id": url.removeprefix("lt://"), "app_url": url, "name": body["name"]})

    return [
        web.get(f"{API}/org/concurrency", concurrency),
        web.get(f"{API}/sessions", sessions),
        web.patch(f"{API}/sessions/{{id}}", rename),
        web.post("/app/upload/realDevice", upload),
    ]
