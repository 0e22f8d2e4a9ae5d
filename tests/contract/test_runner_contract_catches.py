"""The exam can be failed: for each way to be a bad runner there is a check that catches it."""

import asyncio
import gc
import inspect
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from hpcq.plugin import Failure, Handle, Health, Outcome, Request, Runner, SlotView, testing_stage
from hpcq.plugin.testing import RunnerContract
from tests.support.cow import Cow, CowParams


class CowExam(RunnerContract):
    runner = Cow
    succeeds = {"sound": "moo", "field": "meadow"}
    fails = {"sound": ""}
    lasts = {"for_s": 600}
    other_session = {"sound": "moo", "field": "hill"}
    result = {"sound": "moo"}
    fails_with = "exit"
    prints = b"moo"
    leaves = ("milk.txt",)
    reports = True


class TestTheGoodCow(CowExam):
    """The control: unspoilt, it passes every check."""


# Bad runners, each for one reason.


class OfAnotherAge(Cow):
    API_VERSION = "2.0"


class ForgetfulParams(CowParams):
    sound: str = Field("moo", exclude=True)


class Forgetful(Cow):
    params = ForgetfulParams


class AnswersNoJson(Cow):
    async def wait(self, request: Request, handle: Handle) -> Outcome:
        await super().wait(request, handle)
        return Outcome(result={1, 2})


class AnswersNoOutcome(Cow):
    async def wait(self, request: Request, handle: Handle) -> Outcome:
        return (await super().wait(request, handle)).result  # type: ignore[no-any-return]


class AnswersTooMuch(Cow):
    async def wait(self, request: Request, handle: Handle) -> Outcome:
        await super().wait(request, handle)
        return Outcome(result="x" * 70_000)


class Raises(Cow):
    async def wait(self, request: Request, handle: Handle) -> Outcome:
        outcome = await super().wait(request, handle)
        if outcome.error:
            raise RuntimeError("the job failed")
        return outcome


class FailsWithoutAWord(Cow):
    async def wait(self, request: Request, handle: Handle) -> Outcome:
        outcome = await super().wait(request, handle)
        return Outcome(error=Failure("exit", "")) if outcome.error else outcome


class PrintsElsewhere(Cow):
    async def start(self, request: Request) -> Handle:
        self.work[request.key] = await request.spawn(["echo", "moo"], output=request.work_dir / "log")
        return {}


class LeavesArtifactsElsewhere(Cow):
    async def wait(self, request: Request, handle: Handle) -> Outcome:
        outcome = await super().wait(request, handle)
        (request.artifacts_dir / "milk.txt").rename(request.work_dir / "milk.txt")
        return outcome


class ReportsTooMuch(Cow):
    async def start(self, request: Request) -> Handle:
        handle = await super().start(request)
        request.report(5, 3)
        return handle


class OneAtATime(Cow):
    def __init__(self) -> None:
        super().__init__()
        self.turn = asyncio.Semaphore(1)

    async def wait(self, request: Request, handle: Handle) -> Outcome:
        async with self.turn:
            return await super().wait(request, handle)


class NeverStops(Cow):
    async def stop(self, request: Request, handle: Handle, grace_s: float) -> None:
        pass


class StopsLate(Cow):
    async def stop(self, request: Request, handle: Handle, grace_s: float) -> None:
        await asyncio.sleep(600)


class CallsAStopASuccess(Cow):
    async def wait(self, request: Request, handle: Handle) -> Outcome:
        await self.work[request.key].wait()
        return Outcome(result={"sound": "moo"})


class StopsOnlyWhatIsWaitedFor(Cow):
    def __init__(self) -> None:
        super().__init__()
        self.waited: set[str] = set()

    async def wait(self, request: Request, handle: Handle) -> Outcome:
        self.waited.add(request.key)
        return await super().wait(request, handle)

    async def stop(self, request: Request, handle: Handle, grace_s: float) -> None:
        if request.key in self.waited:
            await super().stop(request, handle, grace_s)


class StopsOnlyOnce(Cow):
    def __init__(self) -> None:
        super().__init__()
        self.stopped: set[str] = set()

    async def stop(self, request: Request, handle: Handle, grace_s: float) -> None:
        if request.key in self.stopped:
            raise RuntimeError("stopped twice")
        self.stopped.add(request.key)
        await super().stop(request, handle, grace_s)


class ForgetsWhatHasEnded(Cow):
    async def wait(self, request: Request, handle: Handle) -> Outcome:
        outcome = await super().wait(request, handle)
        del self.work[request.key]
        return outcome


class DiesOfImpatience(Cow):
    async def wait(self, request: Request, handle: Handle) -> Outcome:
        try:
            return await super().wait(request, handle)
        except asyncio.CancelledError:
            await self.work[request.key].terminate(0)
            raise


class WaitsOnce(Cow):
    async def wait(self, request: Request, handle: Handle) -> Outcome:
        process = self.work.pop(request.key)
        end = await process.wait()
        return Outcome(result={"sound": "moo"}) if end.code == 0 else Outcome(error=Failure("exit", "no sound"))


class HandlesNumbers(Cow):
    async def start(self, request: Request) -> Handle:
        return {**await super().start(request), "pids": (self.work[request.key].pid,)}


class HandlesObjects(Cow):
    async def start(self, request: Request) -> Handle:
        await super().start(request)
        return {"process": self.work[request.key]}


class WearsTheSessionOut(Cow):
    async def wait(self, request: Request, handle: Handle) -> Outcome:
        outcome = await super().wait(request, handle)
        self.fields.pop(request.slot.name, None)
        return outcome


class ChangesItsKey(Cow):
    def session_key(self, params: Any) -> str | None:
        return f"{time.monotonic_ns()}"


class LeavesTheGateHalfOpen(Cow):
    def __init__(self) -> None:
        super().__init__()
        self.opening: set[str] = set()

    async def prepare(self, slot: SlotView, request: Request) -> None:
        if slot.name in self.opening:
            raise RuntimeError("is being opened already")
        self.opening.add(slot.name)
        await super().prepare(slot, request)
        self.opening.discard(slot.name)


class Pretends(Cow):
    async def attach(self, request: Request, handle: Handle | None) -> bool:
        return True


class AttachesOnlyWithAHandle(Cow):
    async def attach(self, request: Request, handle: Handle | None) -> bool:
        assert handle is not None
        return False


class CountsOnTheOldHandle(Pretends):
    async def wait(self, request: Request, handle: Handle) -> Outcome:
        assert handle["name"] == request.key
        return await super().wait(request, handle)

    async def stop(self, request: Request, handle: Handle, grace_s: float) -> None:
        """There is nothing to stop: the work ended with its server."""


class BlocksInHealth(Cow):
    async def health(self) -> Health:
        time.sleep(0.7)  # noqa: ASYNC251
        return Health(True)


class IsNeverReady(Cow):
    async def health(self) -> Health:
        return Health(False, "no cow")


class LeavesAProcess(Cow):
    async def start(self, request: Request) -> Handle:
        self.stray = subprocess.Popen(["sleep", "600"], start_new_session=True)  # noqa: ASYNC220
        return await super().start(request)


class LeavesAHiddenProcess(Cow):
    async def open(self, context: Any) -> None:
        hidden = "(env -i setsid sleep 600 > /dev/null 2>&1 &)"
        subprocess.run(["sh", "-c", hidden], check=True)  # noqa: ASYNC221


class LeavesAPort(Cow):
    async def open(self, context: Any) -> None:
        self.door = socket.create_server(("127.0.0.1", 0))


class LeavesATask(Cow):
    async def open(self, context: Any) -> None:
        self.ever = asyncio.create_task(asyncio.sleep(600))


class LeavesATemporaryFile(Cow):
    async def wait(self, request: Request, handle: Handle) -> Outcome:
        number, _ = tempfile.mkstemp()
        os.close(number)
        return await super().wait(request, handle)


class LeavesAFileWhereItStands(Cow):
    async def open(self, context: Any) -> None:
        Path("cow.log").write_text("")  # noqa: ASYNC240


CAUGHT: list[tuple[type[Runner], Callable[..., None], str]] = [
    (OfAnotherAge, CowExam.test_the_api_version_is_known, "API_VERSION"),
    (Forgetful, CowExam.test_params_have_a_json_schema_and_survive_json, "come back"),
    (AnswersNoJson, CowExam.test_a_job_succeeds, "not JSON"),
    (AnswersNoOutcome, CowExam.test_a_job_succeeds, "expected an Outcome"),
    (AnswersTooMuch, CowExam.test_a_job_succeeds, "at most 65536"),
    (Raises, CowExam.test_a_job_fails_by_its_outcome, "the job failed"),
    (FailsWithoutAWord, CowExam.test_a_job_fails_by_its_outcome, "no message"),
    (PrintsElsewhere, CowExam.test_what_a_job_prints_is_in_its_output, "not in the output"),
    (LeavesArtifactsElsewhere, CowExam.test_artifacts_are_in_the_artifacts_folder, "artifacts"),
    (ReportsTooMuch, CowExam.test_progress_is_reported_while_a_job_runs, "5 of 3"),
    (OneAtATime, CowExam.test_slots_work_at_the_same_time, "did not return within"),
    (NeverStops, CowExam.test_stop_ends_a_running_job, "did not return within"),
    (StopsLate, CowExam.test_stop_ends_a_running_job, "longer than its grace"),
    (CallsAStopASuccess, CowExam.test_stop_ends_a_running_job, "expected a failure"),
    (StopsOnlyWhatIsWaitedFor, CowExam.test_stop_ends_a_job_that_has_just_been_started, "did not return within"),
    (StopsOnlyOnce, CowExam.test_a_second_stop_changes_nothing, "stopped twice"),
    (ForgetsWhatHasEnded, CowExam.test_a_stop_after_the_end_changes_nothing, "exam-"),
    (DiesOfImpatience, CowExam.test_cancelling_wait_does_not_stop_the_work, "the work ended"),
    (WaitsOnce, CowExam.test_wait_may_be_called_again_after_it_was_cancelled, "exam-"),
    (HandlesNumbers, CowExam.test_the_handle_survives_json, "comes back from JSON"),
    (HandlesObjects, CowExam.test_a_job_succeeds, "is not JSON"),
    (WearsTheSessionOut, CowExam.test_jobs_of_one_key_share_a_prepared_session, "the gate is closed"),
    (ChangesItsKey, CowExam.test_jobs_of_one_key_share_a_prepared_session, "for the same params"),
    (LeavesTheGateHalfOpen, CowExam.test_a_cancelled_prepare_can_be_released, "opened already"),
    (BlocksInHealth, CowExam.test_health_answers_and_never_blocks, "held the loop up"),
    (IsNeverReady, CowExam.test_health_answers_and_never_blocks, "no cow"),
    (LeavesAProcess, CowExam.test_nothing_is_left_after_close, "sleep 600"),
    (LeavesAHiddenProcess, CowExam.test_an_unused_runner_leaves_nothing, "sleep 600"),
    (LeavesAPort, CowExam.test_an_unused_runner_leaves_nothing, "port "),
    (LeavesATask, CowExam.test_an_unused_runner_leaves_nothing, "asyncio task"),
    (LeavesATemporaryFile, CowExam.test_nothing_is_left_after_close, "file "),
    (LeavesAFileWhereItStands, CowExam.test_an_unused_runner_leaves_nothing, "cow.log"),
]


def exam_of(bad: type[Runner]) -> CowExam:
    """The exam of a spoilt cow, with little patience."""
    exam = CowExam()
    exam.runner, exam.grace_s, exam.limit_s = bad, 0.1, 3.0  # type: ignore[misc, assignment]
    return exam


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing_stage, "STOP_EXTRA_S", 1.0)


@pytest.mark.filterwarnings("ignore")  # what a bad runner leaves open
@pytest.mark.parametrize(("bad", "check", "complaint"), CAUGHT, ids=[entry[0].__name__ for entry in CAUGHT])
def test_a_bad_runner_is_caught(tmp_path: Path, bad: type[Runner], check: Callable[..., None], complaint: str) -> None:
    places = [tmp_path] if "tmp_path" in inspect.signature(check).parameters else []
    with pytest.raises(Exception) as caught:  # noqa: PT011
        check(exam_of(bad), *places)
    assert complaint in f"{caught.value}"
    del caught
    gc.collect()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("bad", "kept", "complaint"),
    [(Pretends, True, "exam-"), (AttachesOnlyWithAHandle, False, ""), (CountsOnTheOldHandle, False, "name")],
)
def test_a_bad_attach_is_caught(tmp_path: Path, bad: type[Runner], kept: bool, complaint: str) -> None:
    with pytest.raises((AssertionError, KeyError), match=complaint):
        exam_of(bad).test_after_a_restart_the_work_is_attached_or_refused(tmp_path, kept)


def test_every_check_is_known_to_be_able_to_fail() -> None:
    checks = {name for name in dir(RunnerContract) if name.startswith("test_")}
    proven = {check.__name__ for _, check, _ in CAUGHT}
    assert checks - proven == {"test_after_a_restart_the_work_is_attached_or_refused"}
