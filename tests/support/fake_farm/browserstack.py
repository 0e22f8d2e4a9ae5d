"""BrowserStack's API and hub, as far as the runner and AppWright's tests use them."""

import asyncio
import hashlib
import uuid
from collections.abc import Iterator
from typing import Any, TypeVar

from aiohttp import web

from tests.support.fake_farm.farm import BODY, FULL, NO_APP, Build, FakeFarm, Opened, Upload, answer, webdriver_error

T = TypeVar("T")
API, HUB = "/app-automate", "/wd/hub/session"
FRAMEWORK = "{framework:espresso|xcuitest|maestro}"
ELEMENT = {"element-6066-11e4-a52e-4f735466cecf": "e1"}


def routes(farm: FakeFarm) -> list[web.RouteDef]:
    """All that it answers."""
    here = _BrowserStack(farm)
    builds = f"{API}/{FRAMEWORK}/v2/builds"
    return [
        web.get(f"{API}/plan.json", here.plan),
        web.post(f"{API}/upload", here.upload),
        web.post(f"{API}/{FRAMEWORK}/v2/test-suite", here.upload),
        web.get(f"{API}/builds.json", here.builds),
        web.get(f"{API}/builds/{{id}}/sessions.json", here.sessions),
        web.get(f"{API}/sessions/{{id}}.json", here.session),
        web.put(f"{API}/sessions/{{id}}.json", here.session),
        web.post(HUB, here.open),
        web.delete(f"{HUB}/{{id}}", here.close),
        web.post(f"{HUB}/{{id}}/elements", here.elements),
        web.get(f"{HUB}/{{id}}/element/e1/{{what:displayed|text}}", here.element),
        web.post(f"{HUB}/{{id}}/element/e1/click", here.element),
        web.get("/video/{id}", here.video),
        web.post(f"{API}/{FRAMEWORK}/v2/build", here.submit),
        web.get(builds, here.list_builds),
        web.get(f"{builds}/{{id}}", here.build),
        web.post(f"{builds}/{{id}}/stop", here.stop),
        web.get(f"{builds}/{{id}}/sessions/{{session}}", here.cases),
    ]


class _BrowserStack:
    def __init__(self, farm: FakeFarm) -> None:
        self.farm = farm

    async def plan(self, _: web.Request) -> web.Response:
        farm = self.farm
        running = len(farm.live) + farm.others
        return answer(
            {
                "automate_plan": "App Automate",
                "parallel_sessions_running": running,
                "team_parallel_sessions_max_allowed": farm.allowed,
                "parallel_sessions_max_allowed": farm.allowed,
                "queued_sessions": 0,
                "queued_sessions_max_allowed": 5,
            }
        )

    async def upload(self, request: web.Request) -> web.Response:
        if self.farm.upload_gate is not None:
            await asyncio.to_thread(self.farm.upload_gate.wait, 30)
        body, purpose = request[BODY], request.match_info.get("framework", "app")
        file = body.get("file") or {"filename": body.get("url"), "sha256": ""}
        url = f"bs://{uuid.uuid4().hex}00000000"
        self.farm.uploads.append(Upload(url, purpose, file["filename"], file["sha256"]))
        return answer({"app_url" if purpose == "app" else "test_suite_url": url})

    # Sessions.

    async def open(self, request: web.Request) -> web.Response:
        wanted = request[BODY]["capabilities"]["alwaysMatch"]
        options, app = wanted.get("bstack:options", {}), wanted.get("appium:app") or wanted.get("app", "")
        if len(self.farm.live) + self.farm.others >= self.farm.allowed:
            return webdriver_error(FULL)
        if app not in {upload.url for upload in self.farm.uploads} - self.farm.dropped:
            return webdriver_error(NO_APP)
        name = options.get("sessionName") or wanted.get("name", "")  # the second is LambdaTest's
        session = Opened(uuid.uuid4().hex, name, options.get("buildName", ""), app, request[BODY])
        self.farm.sessions[session.id] = session
        return answer({"value": {"sessionId": session.id, "capabilities": {"platformName": "android"}}})

    async def close(self, request: web.Request) -> web.Response:
        session = self.farm.sessions.get(request.match_info["id"])
        if session is None or not session.live:
            return webdriver_error("gone", "invalid session id", 404)
        session.live = False
        session.status = "done" if session.status == "running" else session.status
        return answer({"value": None})

    async def elements(self, request: web.Request) -> web.Response:
        session = self.farm.sessions.get(request.match_info["id"])
        if session is None or not session.live:
            return webdriver_error("gone", "invalid session id", 404)
        return answer({"value": [] if "Missing" in request[BODY]["value"] else [ELEMENT]})

    async def element(self, request: web.Request) -> web.Response:
        return answer({"value": {"displayed": True, "text": "Login"}.get(request.match_info.get("what", ""))})

    async def video(self, _: web.Request) -> web.Response:
        return web.Response(body=b"\0\0\0\x18ftypmp42" + bytes(64), content_type="video/mp4")

    async def builds(self, request: web.Request) -> web.Response:
        names = {session.build for session in self._matching(request)}
        return answer(
            [
                {"automation_build": {"name": name, "duration": 1, "status": "running", "hashed_id": _hash(name)}}
                for name in _page(request, sorted(names))
            ]
        )

    async def sessions(self, request: web.Request) -> web.Response:
        found = [each for each in self._matching(request) if _hash(each.build) == request.match_info["id"]]
        return answer([{"automation_session": _shown(session)} for session in _page(request, found)])

    def _matching(self, request: web.Request) -> Iterator[Opened]:
        running = request.query.get("status") == "running"
        return (session for session in list(self.farm.sessions.values()) if session.live or not running)

    async def session(self, request: web.Request) -> web.Response:
        session = self.farm.sessions.get(request.match_info["id"])
        if session is None:
            return answer({}, 404)
        if request.method == "PUT":
            session.name = request[BODY].get("name", session.name)
            session.status = request[BODY].get("status", session.status)
        more = {
            "app_details": {"app_name": "com.example.app"},
            "video_url": f"https://{request.host}/video/{session.id}",
        }
        return answer({"automation_session": {**_shown(session), **more}})

    # Builds that the farm runs.

    async def submit(self, request: web.Request) -> web.Response:
        known = {upload.url for upload in self.farm.uploads} - self.farm.dropped
        if missing := {request[BODY]["app"], request[BODY]["testSuite"]} - known:
            return answer({"message": f"[BROWSERSTACK_INVALID_APP] {sorted(missing)[0]} is not there"}, 422)
        build = Build(uuid.uuid4().hex, request.match_info["framework"], request[BODY])
        self.farm.builds[build.id] = build
        return answer({"message": "Success", "build_id": build.id})

    async def list_builds(self, request: web.Request) -> web.Response:
        mine = [build for build in self.farm.builds.values() if build.framework == request.match_info["framework"]]
        return answer([{"id": each.id, "status": each.status, "input_capabilities": each.asked} for each in mine])

    async def build(self, request: web.Request) -> web.Response:
        build = self.farm.builds.get(request.match_info["id"])
        if build is None:
            return answer({"message": "Build not found"}, 404)
        build.polls_left -= 1
        about = {"status": build.status, "testcases": {"status": _counts(build)}}
        devices = [
            {"device": device, "sessions": [{"id": f"{build.id}-{number}", **about}]}
            for number, device in enumerate(build.asked["devices"], 1)
        ]
        return answer({"id": build.id, "status": build.status, "duration": 12, "devices": devices})

    async def stop(self, request: web.Request) -> web.Response:
        build = self.farm.builds.get(request.match_info["id"])
        if build is None:
            return answer({"message": "Build not found"}, 404)
        build.stopped = True
        return answer({"message": "Success"})

    async def cases(self, request: web.Request) -> web.Response:
        build = self.farm.builds[request.match_info["id"]]
        second = "failed" if build.status == "failed" else "passed"
        cases = [
            {"name": "opens", "status": "passed", "duration": 3},
            {"name": "logs in", "status": second, "duration": 4},
        ]
        return answer({"id": "s", "testcases": {"count": 2, "data": [{"class": "LoginTest", "testcases": cases}]}})


def _page(request: web.Request, found: list[T]) -> list[T]:
    """As the farm: 10 when nobody says how many, and never more than 100."""
    first, most = int(request.query.get("offset", 0)), min(100, int(request.query.get("limit", 10)))
    return found[first : first + most]


def _counts(build: Build) -> dict[str, Any]:
    if build.status == "running":
        return {"passed": 1, "running": 1}
    return {"passed": 1, "failed": 1} if build.status == "failed" else {"passed": 2, "failed": 0, "skipped": 0}


def _shown(session: Opened) -> dict[str, Any]:
    return {"name": session.name, "status": session.status, "hashed_id": session.id, "build_name": session.build}


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:40]
