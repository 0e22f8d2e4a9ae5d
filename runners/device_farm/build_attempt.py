"""An attempt at a farm build: submitted, asked for now and then, and found again after a restart."""

import asyncio
import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcq.plugin import Failure, Infra, Outcome, Rejected, Request, TestCase
from hpcq.plugin.types import JSON, TestStatus
from hpcq_runners.device_farm.api import FarmError
from hpcq_runners.device_farm.build_notes import Notes
from hpcq_runners.device_farm.credentials import NoCredentials
from hpcq_runners.device_farm.farm import Builds, BuildState, Framework, Purpose
from hpcq_runners.device_farm.params import FarmBuildParams
from hpcq_runners.device_farm.test_attempt import STOPPED, Desk
from hpcq_runners.fields import Blob

SLOWEST_S, SLOWER = 30.0, 1.5
STOP_S = 3.0  # beyond the grace, for the farm to take note
AT_ONCE = 8  # sessions whose test cases are asked for
ID_CHARS = 500
OVER = frozenset({"passed", "failed", "error", "timedout", "timeout", "skipped", "done", "stopped", "cancelled"})
VERDICTS: dict[str, TestStatus] = {"passed": "passed", "skipped": "skipped", "flaky": "flaky"}  # others: failed


class BuildAttempt:
    """`outcome` goes on when whoever waits for it stops waiting. Raises Rejected, Infra, FarmError, NoCredentials."""

    def __init__(self, desk: Desk, builds: Builds, notes: Notes, request: Request, build: str | None = None) -> None:
        """`build`: it is at the farm already."""
        self._desk = desk
        self._builds = builds
        self._notes = notes
        self._request = request
        self._build = build
        self._stopping = False
        self._stopped = asyncio.Event()  # as far as it can be, within the grace
        self._work = asyncio.ensure_future(self._run())
        self.outcome = asyncio.ensure_future(self._see_through())

    @property
    def framework(self) -> Framework:
        params: FarmBuildParams = self._request.params
        return params.framework

    async def stop(self, grace_s: float) -> None:
        """The farm is told to stop it; until it has been, it is told again now and then."""
        if self._stopping or self._work.done():
            return
        self._stopping = True
        self._work.cancel()
        try:
            await asyncio.wait([self._work])
            await self._notes.give_up(self._request.key)
            async with asyncio.timeout(grace_s + STOP_S):
                await self._notes.stop_strays()
        except TimeoutError:
            self._desk.context.log.warning("the build of %s has not been stopped in time", self._request.key)
        finally:
            self._stopped.set()

    async def _see_through(self) -> Outcome:
        await asyncio.wait([self._work])
        if self._stopping and self._work.cancelled():
            await self._stopped.wait()  # the slot is free when the farm's session is
            return STOPPED
        return self._work.result()

    async def _run(self) -> Outcome:
        if self._build is None:
            self._build = await self._submitted()
        build = self._build
        self._desk.context.log.info("%s is build %s: %s", self._request.key, build, self._builds.page(build))
        state = await self._end_of(build)
        tests = await self._tests(build, state)
        await self._notes.drop(self._request.key)
        return outcome_of(state, self._result(build, state), tests, self._desk.farm.title)

    async def _submitted(self) -> str:
        params: FarmBuildParams = self._request.params
        key = self._request.key
        name = params.app if params.app is not None else params.app_version_id
        if name is None:
            raise Rejected(
                "a farm build needs the build under test: give app, or the app_version_id of an uploaded one"
            )
        app = await self._uploaded(params.app, "app", params.app_version_id)
        suite = await self._uploaded(params.test_suite, params.framework)
        body = {**params.options, "app": app, "testSuite": suite, "devices": params.devices}
        if params.project:
            body["project"] = params.project
        await self._notes.note(key, params.framework, None)
        try:
            build = await self._builds.submit(params.framework, body, key)
        except FarmError as error:
            if error.kind == "gone" or "app" in str(error).lower():  # the farm may have dropped an upload
                await self._desk.uploads.forget(app)
                await self._desk.uploads.forget(suite)
            if error.kind == "broken":  # or it has begun: the answer was lost
                await self._notes.give_up(key)
            else:
                await self._notes.drop(key)
            raise
        await self._notes.note(key, params.framework, build)
        return build

    async def _uploaded(self, source: str | Blob | None, purpose: Purpose, name: str | None = None) -> str:
        """Its address at the farm."""
        farm = self._desk.farm
        if isinstance(source, str) and source.startswith(farm.scheme):
            return source
        if isinstance(source, str) and source.startswith(("http://", "https://")):
            return await farm.upload(source, source.rpartition("/")[2] or purpose, purpose)
        try:
            if isinstance(source, str):
                file = Path(source)
            else:
                file = self._request.blob(source.blob if source else name or "")
            return await self._desk.uploads.ensure(file, purpose)
        except OSError as error:
            what = source if isinstance(source, str) else f"upload {source.blob if source else name}"
            raise Rejected(f"{what} cannot be read: {error.strerror or 'it is not there'}") from None

    async def _end_of(self, build: str) -> BuildState:
        """Ask for it, less and less often, until it is over. A farm that does not answer is asked again."""
        pause_s = self._desk.context.settings.poll_s
        while True:
            try:
                state = await self._builds.state(self.framework, build)
                self._report(state)
                if state.status in OVER:
                    return state
                wait_s = pause_s
            except FarmError as error:
                if error.kind in ("gone", "refused"):
                    await self._notes.drop(self._request.key)
                    raise Infra(f"{self._desk.farm.title} has lost build {build}: {error}") from None
                if error.kind == "credentials":
                    await self._desk.account.refused()
                wait_s = max(pause_s, min(error.retry_after_s or 0.0, SLOWEST_S))
            except NoCredentials:
                wait_s = SLOWEST_S
            await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))
            pause_s = min(pause_s * SLOWER, max(SLOWEST_S, pause_s))

    def _report(self, state: BuildState) -> None:
        total = sum(state.counts.values())
        done = sum(number for word, number in state.counts.items() if word in OVER)
        self._request.report(done, total or None, state.status)

    def _result(self, build: str, state: BuildState) -> dict[str, JSON]:
        counts = {word: state.counts.get(word, 0) for word in ("passed", "failed", "skipped")}
        sessions = [{"id": session, "device": device, "status": status} for session, device, status in state.sessions]
        return {
            "build_id": build,
            "status": state.status,
            "url": self._builds.page(build),
            "duration_s": state.duration_s,
            **counts,
            "sessions": sessions,
        }

    async def _tests(self, build: str, state: BuildState) -> list[TestCase]:
        """Each test case; without those that the farm does not tell."""
        several = len({device for _, device, _ in state.sessions}) > 1
        tests: list[TestCase] = []
        for first in range(0, len(state.sessions), AT_ONCE):
            part = state.sessions[first : first + AT_ONCE]
            found = await asyncio.gather(*(self._cases(build, session) for session, _, _ in part))
            for (_, device, _), cases in zip(part, found, strict=True):
                tests += [_case(case, f"[{device}] " if several else "") for case in cases]
        return distinct(tests)

    async def _cases(self, build: str, session: str) -> list[dict[str, Any]]:
        try:
            return await self._builds.cases(self.framework, build, session)
        except (FarmError, NoCredentials) as error:
            self._desk.context.log.warning("the test cases of session %s cannot be had: %s", session, error)
            return []


def _case(case: dict[str, Any], where: str) -> TestCase:
    status = VERDICTS.get(str(case.get("status")), "failed")
    group, name = str(case.get("class") or ""), str(case.get("name") or "?")
    duration = case.get("duration")
    return TestCase(
        id=f"{where}{group}#{name}",
        title=f"{where}{group}: {name}" if group else f"{where}{name}",
        file=group,
        line=0,
        status=status,
        duration_s=float(duration) if isinstance(duration, int | float) else 0.0,
        error=str(case.get("error") or case.get("status")) if status == "failed" else None,
    )


def distinct(tests: Iterable[TestCase]) -> list[TestCase]:
    """With an id of its own for each: a test with parameters, or one that ran in two shards, is told more than once."""
    seen: set[str] = set()
    found = []
    for test in tests:
        own, number = test.id[:ID_CHARS], 1
        while own in seen:
            number += 1
            end = f" ({number})"
            own = test.id[: ID_CHARS - len(end)] + end
        seen.add(own)
        found.append(replace(test, id=own))
    return found


def outcome_of(state: BuildState, result: JSON, tests: list[TestCase], title: str) -> Outcome:
    """What the farm's last word on a build means."""
    total, failed = (
        sum(state.counts.values()),
        sum(state.counts.get(word, 0) for word in ("failed", "error", "timedout")),
    )
    word, failure = state.status, None
    if word == "error":
        failure = Failure("infra", f"{title} could not run the build: status error; see {result['url']}")
    elif word in ("timedout", "timeout"):
        failure = Failure("timeout", f"{title} ended the build: it ran too long there")
    elif word in ("stopped", "cancelled"):
        failure = Failure("signal", f"{title}: the build was stopped there", signal=15)
    elif word == "failed" or failed:
        failure = Failure(
            "exit", f"{failed} of {total} tests failed" if total else f"the build failed at {title}", exit_code=1
        )
    return Outcome(result=result, error=failure, tests=tests)
