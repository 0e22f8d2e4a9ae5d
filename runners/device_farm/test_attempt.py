"""An attempt at AppWright tests: they run here, and their devices are the farm's."""

import asyncio
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpcq.plugin import Context, Failure, Infra, Outcome, Request
from hpcq_runners.appwright import run
from hpcq_runners.appwright.builds import build_of
from hpcq_runners.appwright.project import Project
from hpcq_runners.device_farm import verdict
from hpcq_runners.device_farm.account import Account
from hpcq_runners.device_farm.api import FarmError
from hpcq_runners.device_farm.cleaning import Cleaning
from hpcq_runners.device_farm.credentials import Credentials
from hpcq_runners.device_farm.farm import Farm
from hpcq_runners.device_farm.filtered import Filter, FilteredRequest
from hpcq_runners.device_farm.params import FarmTestParams
from hpcq_runners.device_farm.sessions import OurSessions
from hpcq_runners.device_farm.settings import DeviceFarmSettings
from hpcq_runners.device_farm.uploads import Uploads

REDIRECT = Path(__file__).resolve().with_name("redirect.cjs")
STOPPED = Outcome(error=Failure("signal", "stopped", signal=15))


@dataclass(frozen=True, slots=True)
class Desk:
    """What all attempts of a queue share."""

    context: Context
    farm: Farm
    account: Account
    uploads: Uploads
    sessions: OurSessions
    cleaning: Cleaning


class TestAttempt:
    """`outcome` goes on when whoever waits for it stops waiting. Raises Rejected, Infra, FarmError, NoCredentials."""

    __test__ = False  # not one of pytest's

    def __init__(self, desk: Desk, request: Request) -> None:
        self._desk = desk
        self._request = request
        self._stopped: float | None = None  # the grace in seconds
        self._run: run.TestRun | None = None
        self._preparing = asyncio.ensure_future(self._prepare())
        self.outcome = asyncio.ensure_future(self._see_through())

    async def stop(self, grace_s: float) -> None:
        """Playwright ends its tests, which close their sessions; what is left open after that is closed by us."""
        if self._stopped is None:
            self._stopped = grace_s
            self._preparing.cancel()
            if self._run is not None:
                await self._run.stop(grace_s)

    async def _see_through(self) -> Outcome:
        desk, key = self._desk, self._request.key
        try:
            found, target, credentials = await self._preparing
        except asyncio.CancelledError:
            if self._stopped is None:
                raise
            return STOPPED
        printed = await desk.cleaning.begin(self._request)
        await desk.sessions.begin(key)
        outcome = STOPPED
        try:
            if self._stopped is None:
                outcome = await self._tests(found, target, printed, credentials)
        finally:
            try:
                await desk.sessions.end(key, clean=outcome.error is None)
            finally:
                await desk.cleaning.end(key, credentials)
        return await self._judged(credentials.hide_in_outcome(outcome), target.build)

    async def _tests(self, found: Project, target: run.Target, printed: Path, credentials: Credentials) -> Outcome:
        """Whatever they print, nobody reads the credentials there."""
        try:
            shown = Filter(printed, self._request.output, credentials.secrets)
        except OSError as error:
            raise Infra(f"cannot write the output: {error}") from None
        request: Any = FilteredRequest(self._request, printed, credentials.hide)
        try:
            self._run = await run.start(request, self._desk.context, target, found)
            if self._stopped is not None:  # while it was being started
                await self._run.stop(self._stopped)
            return await asyncio.shield(self._run.outcome)
        finally:
            try:
                await shown.close()
            except OSError as error:
                self._desk.context.log.warning("the output of %s is not whole: %s", self._request.key, error)

    async def _prepare(self) -> tuple[Project, run.Target, Credentials]:
        """The project, what its tests are given, and whose account it is."""
        desk, request = self._desk, self._request
        params: FarmTestParams = request.params
        settings: DeviceFarmSettings = desk.context.settings
        credentials = desk.account.credentials()
        found = await run.find(request, desk.context)
        build = await self._uploaded(await asyncio.to_thread(build_of, request, found.folder))
        device = params.device or settings.device
        target = run.Target(
            device=desk.farm.device(device) if device else None,
            build=build,
            env=self._env(credentials, build),
            preload=(REDIRECT,),
            workers=1,  # a slot is one session
        )
        return found, target, credentials

    def _env(self, credentials: Credentials, build: str | None) -> dict[str, str]:
        names = self._desk.farm.variables
        farm = {"key": self._request.key, "hosts": dict(self._desk.farm.hosts())}
        env = {names[0]: credentials.user, names[1]: credentials.key, "HPCQ_FARM": json.dumps(farm)}
        return {**env, "HPCQ_APP_URL": build} if build else env

    async def _uploaded(self, build: str | None) -> str | None:
        """The build's address at the farm. None: the project's config says which, and AppWright uploads it."""
        farm = self._desk.farm
        if build is None or build.startswith(farm.scheme):
            return build
        if build.startswith(("http://", "https://")):
            return await farm.upload(build, build.rpartition("/")[2] or "app", "app")
        return await self._desk.uploads.ensure(Path(build), "app")

    async def _judged(self, outcome: Outcome, build: str | None) -> Outcome:
        """What the farm has spoilt is not the tests' fault. Raises FarmError."""
        if self._stopped is not None:
            return outcome
        trouble = verdict.trouble_in(outcome, self._desk.farm.title)
        if trouble is None:
            return outcome
        if trouble.kind == "gone" and build:
            await self._desk.uploads.forget(build)
        kept = tuple(test for test in outcome.tests if not verdict.spoilt(test, self._desk.farm.title))
        raise FarmTrouble(trouble, replace(outcome, tests=kept))


class FarmTrouble(FarmError):
    """The farm spoilt a run; its `outcome` holds the tests that it did not spoil."""

    def __init__(self, trouble: FarmError, outcome: Outcome) -> None:
        super().__init__(trouble.kind, str(trouble), trouble.retry_after_s)
        self.outcome = outcome
