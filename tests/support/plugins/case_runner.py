"""A runner of tests that exist in its params only: they say how each of them goes in each attempt, and in which file
it is. As a real one it runs, when it is tried again, only the tests that have failed so far."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from hpcq.plugin import Failure, Handle, Infra, Outcome, Part, Rejected, Request, Runner, TestCase


class OneTest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str
    suite: str = ""
    file: str = "tests/a.spec.js"
    title: str = "a test"
    line: int = 1
    goes: list[Literal["passed", "failed", "flaky", "skipped"]]  # the nth time it is run; the last one again and again
    duration_s: float = 1.0


class CaseParams(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tests: list[OneTest] = []
    split: Literal["file"] | None = None
    commit: str | None = None
    ends: list[Literal["ok", "exit", "infra"]] = ["ok"]  # how the nth attempt ends, beside its tests
    result: Any = None
    waits_for: str | None = None  # from the second attempt on: a file that must be there first


class CaseRunner(Runner):
    params: ClassVar[Any] = CaseParams
    durable_handle = False

    def session_key(self, params: CaseParams) -> str | None:
        return None

    async def split(self, params: CaseParams, blob: Callable[[str], Path]) -> Sequence[Part]:
        files = list(dict.fromkeys(test.file for test in params.tests))
        if "refused" in files:
            raise Rejected("nobody may run that")
        if "broken" in files:
            raise Infra("the disk with the tests is gone", retry_after_s=7)
        if files == ["no-list"]:
            return "none"  # type: ignore[return-value]
        if files == ["no-file"]:
            return [Part(None, {})]  # type: ignore[arg-type]
        rest = params.model_dump(mode="json", exclude={"tests"})
        suites: dict[str, Any] = {test.file: test.suite for test in params.tests}
        if files == ["no-suite"]:
            suites = {"no-suite": None}
        return [Part(file, {**rest, "tests": _of_file(params.tests, file)}, suites[file]) for file in files]

    async def start(self, request: Request) -> Handle:
        return {}

    async def wait(self, request: Request, handle: Handle) -> Outcome:
        params: CaseParams = request.params
        if params.waits_for and request.attempt > 1:
            while not Path(params.waits_for).exists():  # noqa: ASYNC110, ASYNC240  (of a test, and on its own thread)
                await asyncio.sleep(0.01)
        seen: dict[str, list[str]] = {}
        for outcome in request.previous:
            for test in outcome.tests:
                seen.setdefault(test.id, []).append(test.status)
        wanted = [test for test in params.tests if seen.get(test.id, ["failed"])[-1] == "failed"]
        cases = [_case(test, len(seen.get(test.id, ()))) for test in wanted]
        how = params.ends[min(request.attempt, len(params.ends)) - 1]
        error = {
            "ok": None,
            "exit": Failure("exit", "the tests ended with 1", exit_code=1),
            "infra": Failure("infra", "the device is gone"),
        }[how]
        return Outcome(params.result, error, cases, commit=params.commit)

    async def stop(self, request: Request, handle: Handle, grace_s: float) -> None:
        return None


def _of_file(tests: Sequence[OneTest], file: str) -> list[Mapping[str, Any]]:
    wrong = {"surprise": 1} if file == "wrong.js" else {}
    return [{**test.model_dump(mode="json"), **wrong} for test in tests if test.file == file]


def _case(test: OneTest, times: int) -> TestCase:
    status = test.goes[min(times, len(test.goes) - 1)]
    error = f"{test.id} went wrong" if status in ("failed", "flaky") else None
    again = int(status == "flaky")
    return TestCase(test.id, test.title, test.file, test.line, status, test.duration_s, again, error, test.suite)


class RawParams(BaseModel):
    tests: Any = None
    split: str | None = None


class RawRunner(CaseRunner):
    """Reports what it is told to, whatever that is."""

    params: ClassVar[Any] = RawParams
    split = Runner.split

    async def wait(self, request: Request, handle: Handle) -> Outcome:
        return Outcome(tests=request.params.tests)
