"""The device farm runner: AppWright tests on a farm's devices, and builds that the farm runs by itself."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from hpcq.plugin import Context, Handle, Health, Infra, Outcome, Part, Rejected, Request, Runner
from hpcq_runners.appwright.modules import uploads_lack
from hpcq_runners.appwright.run import clear
from hpcq_runners.appwright.split import split
from hpcq_runners.appwright.tools import lacking
from hpcq_runners.device_farm import verdict
from hpcq_runners.device_farm.account import Account
from hpcq_runners.device_farm.api import Api, FarmError
from hpcq_runners.device_farm.browserstack import BrowserStack
from hpcq_runners.device_farm.build_attempt import BuildAttempt
from hpcq_runners.device_farm.build_notes import Notes
from hpcq_runners.device_farm.capacity import Capacity
from hpcq_runners.device_farm.cleaning import Cleaning
from hpcq_runners.device_farm.credentials import NoCredentials
from hpcq_runners.device_farm.lambdatest import LambdaTest
from hpcq_runners.device_farm.params import FarmBuildParams, FarmParams
from hpcq_runners.device_farm.sessions import OurSessions
from hpcq_runners.device_farm.settings import DeviceFarmSettings
from hpcq_runners.device_farm.test_attempt import Desk, FarmTrouble, TestAttempt
from hpcq_runners.device_farm.uploads import Uploads

FARMS: dict[str, type[BrowserStack] | type[LambdaTest]] = {"browserstack": BrowserStack, "lambdatest": LambdaTest}
WATCH_S = 2.0
TIDY_S = 20.0  # for what earlier lives left, before anything starts


class DeviceFarmRunner(Runner):
    """One account at one farm. Its slots are the sessions of the plan that others do not use."""

    API_VERSION: ClassVar[str] = "1.0"
    params: ClassVar[Any] = FarmParams
    settings: ClassVar[type[DeviceFarmSettings]] = DeviceFarmSettings
    durable_handle: ClassVar[bool] = True
    isolation: ClassVar[Literal["thread", "loop"]] = "loop"

    def __init__(self) -> None:
        self._begun: dict[str, TestAttempt | BuildAttempt] = {}
        self._opened = False
        self._tidying: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._in_doubt = False  # a call failed since the farm was last asked for its plan

    # The runner's life.

    async def open(self, context: Context) -> None:
        settings: DeviceFarmSettings = context.settings
        await asyncio.to_thread(clear, context.data_dir)
        kind = FARMS[settings.farm]
        account = Account(context, kind.title, kind.variables)
        farm = kind(Api(kind.title, account.credentials), settings)
        uploads = Uploads(farm, context.state, lambda: account.credentials().account)
        sessions = OurSessions(farm, context.state, context.log)
        cleaning = Cleaning(account, context.state, context.log)
        self._desk = Desk(context, farm, account, uploads, sessions, cleaning)
        self._notes = Notes(farm, context.state, context.log)
        self._capacity = Capacity(farm, context)
        self._opened = True
        for part in (account, uploads, sessions, cleaning, self._notes):
            await part.open()
        self._capacity.offer()
        if settings.credentials_file is not None:
            self._watching = asyncio.ensure_future(self._watch())
        await asyncio.wait([self._tidy()], timeout=TIDY_S)

    async def health(self) -> Health:
        """The farm is asked for its plan, at most every 15 s."""
        try:
            await self._capacity.ask(anew=self._in_doubt)
        except NoCredentials as none:
            return Health(False, str(none))
        except FarmError as error:
            await self._note(error)
            if error.kind == "credentials":
                return Health(False, self._desk.account.reason)
            return Health(error.kind == "busy", str(error))
        self._in_doubt = False
        await self._desk.account.accepted()
        self._tidy()
        return await self._tools()

    async def _watch(self) -> None:
        """A corrected file ends the pause that the wrong one led to."""
        while True:
            await asyncio.sleep(WATCH_S)
            if self._desk.account.changed:
                await self.health()

    async def _tools(self) -> Health:
        """Tests run here, with what they need; builds run at the farm."""
        missing = await asyncio.to_thread(lacking, self._desk.context.settings)
        if missing and self._desk.farm.builds is not None:
            return Health(True, f"farm builds run, but tests cannot: {missing}")
        return Health(not missing, missing or uploads_lack(self._desk.context))

    def _tidy(self) -> "asyncio.Task[None]":
        """Close and stop what nobody uses any more; by itself, for health must not wait for it."""
        if self._tidying is None or self._tidying.done():
            self._tidying = asyncio.ensure_future(self._tidy_up())
        return self._tidying

    async def _tidy_up(self) -> None:
        await asyncio.gather(self._desk.cleaning.clean_left(), self._desk.sessions.close_left())
        await self._notes.stop_strays()

    async def close(self) -> None:
        """Whatever still runs is ended; nobody waits for its outcome."""
        if not self._opened:
            return
        begun = list(self._begun.values())
        self._begun.clear()
        await asyncio.gather(*(attempt.stop(0.0) for attempt in begun), return_exceptions=True)
        await asyncio.gather(*(attempt.outcome for attempt in begun), return_exceptions=True)
        self._capacity.close()
        await self._desk.uploads.close()
        background = [work for work in (self._tidying, self._watching) if work is not None]
        for work in background:
            work.cancel()
        await asyncio.gather(*background, return_exceptions=True)

    # Attempts.

    async def start(self, request: Request) -> Handle:
        """An upload may take longer than a start may: it is part of the work."""
        if isinstance(request.params, FarmBuildParams):
            self._begin_build(request, None)
            return {"kind": "farm_build"}
        self._capacity.begin(request.key)
        self._begun[request.key] = TestAttempt(self._desk, request)
        return {"kind": "tests"}

    def _begin_build(self, request: Request, build: str | None) -> None:
        builds = self._desk.farm.builds
        if builds is None:
            raise Rejected(f"{self._desk.farm.title} takes no farm builds from this runner; run AppWright tests there")
        self._capacity.begin(request.key, len(request.params.devices))
        self._begun[request.key] = BuildAttempt(self._desk, builds, self._notes, request, build)

    async def wait(self, request: Request, handle: Handle) -> Outcome:  # noqa: ARG002
        begun = self._begun.get(request.key)
        if begun is None:
            raise Infra(f"no attempt {request.key} was started here")
        await asyncio.wait([begun.outcome])
        self._begun.pop(request.key, None)
        self._capacity.end(request.key)
        try:
            return begun.outcome.result()
        except NoCredentials as none:
            self._in_doubt = True
            raise Infra(str(none)) from None
        except FarmError as error:
            await self._note(error)
            return verdict.outcome_of(error, error.outcome if isinstance(error, FarmTrouble) else None)

    async def _note(self, error: FarmError) -> None:
        """What a failed call means for the whole queue."""
        if error.kind == "credentials":
            self._in_doubt = True
            await self._desk.account.refused()
        elif error.kind == "busy":
            self._capacity.pause(error.retry_after_s or 0.0, str(error))
        elif error.kind == "broken":
            self._in_doubt = True

    async def stop(self, request: Request, handle: Handle, grace_s: float) -> None:  # noqa: ARG002
        begun = self._begun.get(request.key)
        if begun is not None:
            await begun.stop(grace_s)

    async def attach(self, request: Request, handle: Handle | None) -> bool:  # noqa: ARG002
        """A farm build goes on without us. Tests ran on this machine and are gone; `open` has closed their sessions."""
        builds = self._desk.farm.builds
        if not isinstance(request.params, FarmBuildParams) or builds is None:
            return False
        build = await self._notes.find(request.key, builds)
        if build is None:
            return False
        self._begin_build(request, build)
        return True

    async def split(self, params: Any, blob: Callable[[str], Path]) -> Sequence[Part]:
        """One job for each spec file."""
        if isinstance(params, FarmBuildParams):
            raise Rejected("a farm build cannot be split: the farm shards it, by options.shards")
        return await split(params, self._desk.context, blob)
