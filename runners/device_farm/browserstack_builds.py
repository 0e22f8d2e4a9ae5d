"""Builds that BrowserStack runs by itself: Espresso, XCUITest and Maestro."""

from collections.abc import Iterator, Mapping
from typing import Any

from hpcq_runners.device_farm.api import Api, FarmError
from hpcq_runners.device_farm.farm import BuildState, Framework

Cases = list[dict[str, Any]]


class BrowserStackBuilds:
    """See `Builds`."""

    def __init__(self, api: Api, root: str) -> None:
        self._api = api
        self._root = root

    async def submit(self, framework: Framework, body: Mapping[str, Any], key: str) -> str:
        url = f"{self._root}/{framework}/v2/build"
        named = {**body, "customBuildName": key, "buildTag": key}
        return await self._api.call("POST", url, lambda found: str(found["build_id"]), body=named)

    async def find(self, framework: Framework, key: str) -> str | None:
        def named(found: Any) -> str | None:
            builds = found.get("builds", []) if isinstance(found, dict) else found
            return next((str(build["id"]) for build in builds if key in _names(build)), None)

        return await self._api.call("GET", f"{self._root}/{framework}/v2/builds", named, query={"limit": "100"})

    async def state(self, framework: Framework, build: str) -> BuildState:
        return await self._api.call("GET", self._url(framework, build), _state)

    async def cases(self, framework: Framework, build: str, session: str) -> Cases:
        return await self._api.call("GET", f"{self._url(framework, build)}/sessions/{session}", _cases)

    async def stop(self, framework: Framework, build: str) -> None:
        try:
            await self._api.call("POST", f"{self._url(framework, build)}/stop", lambda _: None)
        except FarmError as error:
            if error.kind not in ("gone", "refused"):  # it is over
                raise

    def page(self, build: str) -> str:
        return f"https://app-automate.browserstack.com/dashboard/v2/builds/{build}"

    def _url(self, framework: Framework, build: str) -> str:
        return f"{self._root}/{framework}/v2/builds/{build}"


def _names(build: Mapping[str, Any]) -> Iterator[Any]:
    """What a build is called: the API shows it in more than one place."""
    for place in (build, build.get("input_capabilities") or {}):
        yield from (place.get(name) for name in ("name", "customBuildName", "buildTag", "build_tag"))


def _state(found: Any) -> BuildState:
    sessions = [(device, each) for device in found.get("devices") or [] for each in device.get("sessions") or []]
    counts: dict[str, int] = {}
    for _, session in sessions:
        for word, number in ((session.get("testcases") or {}).get("status") or {}).items():
            counts[word] = counts.get(word, 0) + int(number or 0)
    return BuildState(
        status=str(found["status"]),
        duration_s=None if found.get("duration") is None else float(found["duration"]),
        counts=counts,
        sessions=tuple(
            (str(each["id"]), str(device.get("device", "")), str(each["status"])) for device, each in sessions
        ),
    )


def _cases(found: Any) -> Cases:
    groups = (found.get("testcases") or {}).get("data") or []
    return [{**case, "class": group.get("class", "")} for group in groups for case in group.get("testcases") or []]
