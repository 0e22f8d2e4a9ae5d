"""BrowserStack App Automate."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hpcq_runners.device_farm.api import UPLOAD_S, Api, FarmError
from hpcq_runners.device_farm.browserstack_builds import BrowserStackBuilds
from hpcq_runners.device_farm.farm import Builds, Plan, Purpose, Session
from hpcq_runners.device_farm.form import fields, file_form, opened
from hpcq_runners.device_farm.settings import DeviceFarmSettings, FarmDevice

T = TypeVar("T")
API, HUB = "https://api-cloud.browserstack.com", "https://hub.browserstack.com"
PAGE, MOST_PAGES = 100, 50
AT_ONCE = 8


class BrowserStack:
    """See `Farm`."""

    title: ClassVar[str] = "BrowserStack"
    variables: ClassVar[tuple[str, str]] = ("BROWSERSTACK_USERNAME", "BROWSERSTACK_ACCESS_KEY")
    scheme: ClassVar[str] = "bs://"

    def __init__(self, api: Api, settings: DeviceFarmSettings) -> None:
        self._api = api
        self._root = f"{settings.api_url or API}/app-automate"
        self._uploads = f"{settings.upload_url or settings.api_url or API}/app-automate"
        self._hub = settings.hub_url or HUB
        self.builds: Builds | None = BrowserStackBuilds(api, self._root)

    async def plan(self) -> Plan:
        return await self._api.call("GET", f"{self._root}/plan.json", _plan)

    async def upload(self, source: Path | str, name: str, purpose: Purpose) -> str:
        place = "upload" if purpose == "app" else f"{purpose}/v2/test-suite"
        url = f"{self._uploads}/{place}"
        read = _app_url if purpose == "app" else _suite_url
        if isinstance(source, str):
            return await self._api.call("POST", url, read, form=fields({"url": source}), timeout_s=UPLOAD_S)
        with opened(source) as file:
            form = file_form("file", file, name)
            return await self._api.call("POST", url, read, form=form, timeout_s=UPLOAD_S)

    async def sessions(self) -> list[Session]:
        ids = await self._all(f"{self._root}/builds.json", _build_ids)
        found: list[Session] = []
        for first in range(0, len(ids), AT_ONCE):
            parts = await asyncio.gather(*(self._sessions_of(build) for build in ids[first : first + AT_ONCE]))
            found += [session for part in parts for session in part]
        return found

    async def _sessions_of(self, build: str) -> list[Session]:
        url = f"{self._root}/builds/{build}/sessions.json"
        try:
            return await self._all(url, _sessions)
        except FarmError as error:
            if error.kind == "gone":
                return []
            raise

    async def _all(self, url: str, read: Callable[[Any], Sequence[T]]) -> list[T]:
        """All that are running, page by page."""
        found: dict[T, None] = {}  # pages may overlap: a list that changes meanwhile
        for page in range(MOST_PAGES):
            query = {"status": "running", "limit": str(PAGE), "offset": str(page * PAGE)}
            part = await self._api.call("GET", url, lambda answer: (len(answer), read(answer)), query=query)
            found.update(dict.fromkeys(part[1]))
            if part[0] < PAGE:
                break
        return list(found)

    async def close(self, session_id: str) -> None:
        await end_session(self._api, self._hub, session_id)

    def hosts(self) -> Mapping[str, str]:
        api = self._root.removesuffix("/app-automate")
        hub = dict.fromkeys(("hub.browserstack.com", "hub-cloud.browserstack.com"), self._hub)
        return {"api-cloud.browserstack.com": api, "api.browserstack.com": api, **hub}

    def device(self, device: FarmDevice) -> dict[str, Any]:
        return device_of("browserstack", device)


def _plan(found: Any) -> Plan:
    allowed = [found.get(name) for name in ("parallel_sessions_max_allowed", "team_parallel_sessions_max_allowed")]
    return Plan(
        min(int(number) for number in allowed if number is not None), int(found.get("parallel_sessions_running") or 0)
    )


def _app_url(found: Any) -> str:
    return str(found["app_url"])


def _suite_url(found: Any) -> str:
    return str(found["test_suite_url"])


def _build_ids(found: Any) -> list[str]:
    return [part["automation_build"]["hashed_id"] for part in found]


def _sessions(found: Any) -> list[Session]:
    sessions = (part["automation_session"] for part in found)
    return [Session(each["hashed_id"], each.get("name") or "") for each in sessions if each["status"] == "running"]


async def end_session(api: Api, hub: str, session_id: str) -> None:
    """As WebDriver has it; one that is over stays so."""
    try:
        await api.call("DELETE", f"{hub}/wd/hub/session/{session_id}", lambda _: None)
    except FarmError as error:
        if error.kind != "gone":
            raise


def device_of(provider: str, device: FarmDevice) -> dict[str, Any]:
    """The words of AppWright's config."""
    given = {"name": device.name, "osVersion": device.os_version, "orientation": device.orientation}
    return {"provider": provider, **{name: value for name, value in given.items() if value is not None}}
