"""LambdaTest's real devices."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from hpcq_runners.device_farm.api import UPLOAD_S, Api, FarmError
from hpcq_runners.device_farm.browserstack import device_of, end_session
from hpcq_runners.device_farm.farm import Builds, Plan, Purpose, Session
from hpcq_runners.device_farm.form import fields, file_form, opened
from hpcq_runners.device_farm.settings import DeviceFarmSettings, FarmDevice

API, UPLOAD, HUB = (
    "https://mobile-api.lambdatest.com",
    "https://manual-api.lambdatest.com",
    "https://mobile-hub.lambdatest.com",
)
RUNNING = {"status": "running", "limit": "100"}


class LambdaTest:
    """See `Farm`."""

    title: ClassVar[str] = "LambdaTest"
    variables: ClassVar[tuple[str, str]] = ("LAMBDATEST_USERNAME", "LAMBDATEST_ACCESS_KEY")
    scheme: ClassVar[str] = "lt://"

    def __init__(self, api: Api, settings: DeviceFarmSettings) -> None:
        self._api = api
        self._api_url = settings.api_url or API
        self._root = f"{self._api_url}/mobile-automation/api/v1"
        self._uploads = settings.upload_url or settings.api_url or UPLOAD
        self._hub = settings.hub_url or HUB
        self.builds: Builds | None = None

    async def plan(self) -> Plan:
        def read(found: Any) -> Plan:
            data = found["data"]
            return Plan(int(data["max_concurrency"]), int(data.get("running") or 0))

        return await self._api.call("GET", f"{self._root}/org/concurrency", read)

    async def upload(self, source: Path | str, name: str, purpose: Purpose) -> str:
        if purpose != "app":
            raise FarmError("refused", f"LambdaTest: uploads of {purpose} test suites are not supported")
        url, texts = f"{self._uploads}/app/upload/realDevice", {"name": name, "visibility": "team"}
        if isinstance(source, str):
            form = fields({**texts, "storage": "url", "url": source})
            return await self._api.call("POST", url, _app_url, form=form, timeout_s=UPLOAD_S)
        with opened(source) as file:
            form = file_form("appFile", file, name, {**texts, "storage": "file"})
            return await self._api.call("POST", url, _app_url, form=form, timeout_s=UPLOAD_S)

    async def sessions(self) -> list[Session]:
        return await self._api.call("GET", f"{self._root}/sessions", _sessions, query=RUNNING)

    async def close(self, session_id: str) -> None:
        await end_session(self._api, self._hub, session_id)

    def hosts(self) -> Mapping[str, str]:
        return {
            "mobile-api.lambdatest.com": self._api_url,
            "manual-api.lambdatest.com": self._uploads,
            "mobile-hub.lambdatest.com": self._hub,
        }

    def device(self, device: FarmDevice) -> dict[str, Any]:
        return device_of("lambdatest", device)


def _app_url(found: Any) -> str:
    return str(found["app_url"])


def _sessions(found: Any) -> list[Session]:
    running = (each for each in found["data"] or [] if each.get("status_ind", "running") == "running")
    return [Session(str(each.get("session_id") or each["test_id"]), each.get("name") or "") for each in running]
