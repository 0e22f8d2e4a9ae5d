"""The exam that every runner must pass. A runner's author inherits it and says what to run:

    class TestMyRunner(RunnerContract):
        runner = MyRunner
        succeeds = {"sound": "moo"}
        fails = {"sound": ""}
        lasts = {"sound": "moo", "for_s": 600}

`pytest` then runs every check below against the real runner with real processes and folders. Needs pytest, and Linux.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import TypeAdapter

from hpcq.plugin import testing_processes as processes
from hpcq.plugin import testing_stage
from hpcq.plugin.runner import Runner
from hpcq.plugin.testing_stage import Stage, StageRequest, loop_lag, private_places
from hpcq.plugin.types import Failure, FailureType, Handle, Health, Outcome

Script = Callable[[Stage], Awaitable[None]]
MOMENT_S = 0.3  # long enough for a bad runner to show itself, short enough to wait for in each check
TRIES = 10
LAG_S = 0.5  # a loop held up for longer is blocked
OURS = "1"  # the major API version


class RunnerContract:
    """Subclass it with a name that begins with `Test`; override what is not so for your runner."""

    runner: ClassVar[type[Runner]]
    settings: Mapping[str, Any] = {}  # the queue's own keys
    blobs: Mapping[str, Path] = {}  # uploaded files that the params name, by SHA-256 or app_version_id
    succeeds: Mapping[str, Any]  # params of a job that succeeds, soon
    fails: Mapping[str, Any]  # params of a job that fails, soon
    lasts: Mapping[str, Any]  # params of a job that goes on for minutes unless it is stopped

    result: Any = ...  # the result of `succeeds`; ... : anything
    fails_with: FailureType | None = None  # the type of the failure of `fails`
    prints: bytes = b""  # what `succeeds` writes to its output, among other things
    leaves: tuple[str, ...] = ()  # the names of the artifacts of `succeeds`
    reports: bool = False  # `lasts` reports its progress at once
    other_session: Mapping[str, Any] | None = None  # params of a job that succeeds in a session of another key

    limit_s: float = 30.0  # for one job
    grace_s: float = 1.0  # given to `stop`

    # What it is.

    def test_the_api_version_is_known(self) -> None:
        major = self.runner.API_VERSION.partition(".")[0]
        assert major == OURS, f"API_VERSION is {self.runner.API_VERSION!r}, this is version {OURS}"

    def test_params_have_a_json_schema_and_survive_json(self) -> None:
        adapter: TypeAdapter[Any] = TypeAdapter(self.runner.params)
        adapter.json_schema()
        for given in (self.succeeds, self.fails, self.lasts):
            taken = adapter.validate_python(dict(given))
            kept = json.dumps(adapter.dump_python(taken, mode="json"))
            again = adapter.validate_python(json.loads(kept))
            assert again == taken, f"params {taken!r} come back from JSON as {again!r}"

    # Jobs.

    def test_a_job_succeeds(self, tmp_path: Path) -> None:
        async def script(stage: Stage) -> None:
            _, outcome = await stage.run(self.succeeds, self.limit_s)
            _succeeded(outcome)
            if self.result is not ...:
                assert outcome.result == self.result, f"the result is {outcome.result!r}, expected {self.result!r}"

        self._exam(tmp_path, script)

    def test_a_job_fails_by_its_outcome(self, tmp_path: Path) -> None:
        async def script(stage: Stage) -> None:
            _, outcome = await stage.run(self.fails, self.limit_s)
            error = _failed(outcome)
            if self.fails_with is not None:
                assert error.type == self.fails_with, f"it failed by {error.type!r}, expected {self.fails_with!r}"
            _succeeded((await stage.run(self.succeeds, self.limit_s))[1])  # on the same slot

        self._exam(tmp_path, script)

    def test_what_a_job_prints_is_in_its_output(self, tmp_path: Path) -> None:
        if not self.prints:
            pytest.skip("the runner's jobs print nothing")

        async def script(stage: Stage) -> None:
            request, _ = await stage.run(self.succeeds, self.limit_s)
            text = request.output.read_bytes() if request.output.exists() else b""
            assert self.prints in text, f"{self.prints!r} is not in the output {text[-500:]!r}"

        self._exam(tmp_path, script)

    def test_artifacts_are_in_the_artifacts_folder(self, tmp_path: Path) -> None:
        if not self.leaves:
            pytest.skip("the runner's jobs leave no artifacts")

        async def script(stage: Stage) -> None:
            request, _ = await stage.run(self.succeeds, self.limit_s)
            assert request.artifacts() == sorted(self.leaves), f"artifacts: {request.artifacts()}, not {self.leaves}"

        self._exam(tmp_path, script)

    def test_progress_is_reported_while_a_job_runs(self, tmp_path: Path) -> None:
        if not self.reports:
            pytest.skip("the runner's jobs report no progress")

        async def script(stage: Stage) -> None:
            request, handle, waiting = await self._lasting(stage)
            assert request.reports, "no progress was reported"
            done, total, _ = request.reports[-1]
            assert done >= 0, f"{done} done"
            assert total is None or done <= total, f"{done} of {total} done"
            await self._stopped(stage, request, handle, waiting)

        self._exam(tmp_path, script)

    def test_slots_work_at_the_same_time(self, tmp_path: Path) -> None:
        async def script(stage: Stage) -> None:
            request, handle, waiting = await self._lasting(stage)
            _succeeded((await stage.run(self.succeeds, self.limit_s, slot=1))[1])
            assert not waiting.done(), "a job ended when one of another slot did"
            await self._stopped(stage, request, handle, waiting)

        self._exam(tmp_path, script)

    # Stop, and what is not a stop.

    def test_stop_ends_a_running_job(self, tmp_path: Path) -> None:
        async def script(stage: Stage) -> None:
            request, handle, waiting = await self._lasting(stage)
            await self._stopped(stage, request, handle, waiting)
            _succeeded((await stage.run(self.succeeds, self.limit_s))[1])  # on the same slot

        self._exam(tmp_path, script)

    def test_stop_ends_a_job_that_has_just_been_started(self, tmp_path: Path) -> None:
        async def script(stage: Stage) -> None:
            request = stage.request(self.lasts)
            handle = await stage.start(request)
            await stage.stop(request, handle, self.grace_s)
            _failed(await stage.wait(request, handle, self.grace_s + testing_stage.STOP_EXTRA_S))

        self._exam(tmp_path, script)

    def test_a_second_stop_changes_nothing(self, tmp_path: Path) -> None:
        async def script(stage: Stage) -> None:
            request, handle, waiting = await self._lasting(stage)
            stops = (stage.stop(request, handle, self.grace_s) for _ in range(2))
            await asyncio.gather(*stops)
            _failed(await waiting)
            _succeeded((await stage.run(self.succeeds, self.limit_s))[1])

        self._exam(tmp_path, script)

    def test_a_stop_after_the_end_changes_nothing(self, tmp_path: Path) -> None:
        async def script(stage: Stage) -> None:
            request = stage.request(self.succeeds)
            handle = await stage.start(request)
            _succeeded(await stage.wait(request, handle, self.limit_s))
            await stage.stop(request, handle, self.grace_s)
            _succeeded((await stage.run(self.succeeds, self.limit_s))[1])

        self._exam(tmp_path, script)

    def test_cancelling_wait_does_not_stop_the_work(self, tmp_path: Path) -> None:
        async def script(stage: Stage) -> None:
            request = stage.request(self.lasts)
            handle = await stage.start(request)
            await _cancelled(asyncio.ensure_future(stage.runner.wait(request, handle)))
            again = asyncio.ensure_future(stage.wait(request, handle, self.limit_s))
            await asyncio.wait([again], timeout=MOMENT_S)
            assert not again.done(), f"the work ended when `wait` was cancelled: {again!r:.300}"
            assert await stage.runner.alive(request, handle), "`alive` says no after `wait` was cancelled"
            await self._stopped(stage, request, handle, again)

        self._exam(tmp_path, script)

    def test_wait_may_be_called_again_after_it_was_cancelled(self, tmp_path: Path) -> None:
        async def script(stage: Stage) -> None:
            for _ in range(TRIES):  # a short job may end before it can be left alone
                request = stage.request(self.succeeds)
                handle = await stage.start(request)
                first = asyncio.ensure_future(stage.runner.wait(request, handle))
                await _cancelled(first, after_s=0)
                if first.cancelled():
                    _succeeded(await stage.wait(request, handle, self.limit_s))
                    return
                _succeeded(first.result())

        self._exam(tmp_path, script)

    # Sessions.

    def test_jobs_of_one_key_share_a_prepared_session(self, tmp_path: Path) -> None:
        async def script(stage: Stage) -> None:
            self._session_key(stage)
            for _ in range(3):  # prepared by the first
                _succeeded((await stage.run(self.succeeds, self.limit_s))[1])
            if self.other_session is not None:
                _succeeded((await stage.run(self.other_session, self.limit_s))[1])
                _succeeded((await stage.run(self.succeeds, self.limit_s))[1])

        self._exam(tmp_path, script)

    def test_a_cancelled_prepare_can_be_released(self, tmp_path: Path) -> None:
        async def script(stage: Stage) -> None:
            self._session_key(stage)
            for moment_s in (0.0, 0.01, 0.1):
                request = stage.request(self.succeeds)
                preparing = asyncio.ensure_future(stage.runner.prepare(request.slot, request))
                await asyncio.wait([preparing], timeout=moment_s)
                await _cancelled(preparing)
                await asyncio.wait_for(stage.runner.release(request.slot), 60)
                await request.slot.scope.end()
            _succeeded((await stage.run(self.succeeds, self.limit_s))[1])

        self._exam(tmp_path, script)

    # Restarts.

    def test_the_handle_survives_json(self, tmp_path: Path) -> None:
        async def script(stage: Stage) -> None:
            request = stage.request(self.lasts)
            await stage.prepare(request)
            handle = await stage.runner.start(request)
            copy = json.loads(json.dumps(handle))
            assert copy == handle, f"the handle {handle!r} comes back from JSON as {copy!r}"
            await stage.stop(request, copy, self.grace_s)
            _failed(await stage.wait(request, copy, self.limit_s))

        self._exam(tmp_path, script)

    @pytest.mark.parametrize("kept", [True, False], ids=["with the handle", "without a handle"])
    def test_after_a_restart_the_work_is_attached_or_refused(self, tmp_path: Path, kept: bool) -> None:
        handles: list[Handle] = []

        async def crash(stage: Stage) -> None:
            handles.append(await stage.start(stage.request(self.lasts)))
            await stage.die()

        async def restart(stage: Stage) -> None:
            request = stage.again(1, self.lasts)
            answer = await asyncio.wait_for(stage.runner.attach(request, handles[0] if kept else None), 30)
            assert isinstance(answer, bool), f"attach answered {answer!r}, expected True or False"
            if answer:
                assert self.runner.durable_handle, "attach found work although `durable_handle` is False"
                handle = handles[0] if kept else {}  # as the server has it: what `attach` found, the runner keeps
                waiting = asyncio.ensure_future(stage.wait(request, handle, self.limit_s))
                await asyncio.wait([waiting], timeout=MOMENT_S)
                await self._stopped(stage, request, handle, waiting)
            _succeeded((await stage.run(self.succeeds, self.limit_s))[1])

        self._exam(tmp_path, crash, close=False)
        self._exam(tmp_path, restart)

    # Health and the end.

    def test_health_answers_and_never_blocks(self, tmp_path: Path) -> None:
        async def script(stage: Stage) -> None:
            request, handle, waiting = await self._lasting(stage)
            async with loop_lag() as lag:
                health = await asyncio.wait_for(stage.runner.health(), 10)
            assert isinstance(health, Health), f"health answered {health!r:.200}, expected a Health"
            assert health.ready, f"not ready: {health.message}"
            assert lag[0] < LAG_S, f"health held the loop up for {lag[0]:.2f} s"
            await self._stopped(stage, request, handle, waiting)

        self._exam(tmp_path, script)

    def test_nothing_is_left_after_close(self, tmp_path: Path) -> None:
        async def script(stage: Stage) -> None:
            await stage.run(self.succeeds, self.limit_s)
            await stage.run(self.fails, self.limit_s)
            request, handle, waiting = await self._lasting(stage)
            await self._stopped(stage, request, handle, waiting)

        left = self._exam(tmp_path, script)
        assert not left, f"left after close: {', '.join(left)}"

    def test_an_unused_runner_leaves_nothing(self, tmp_path: Path) -> None:
        async def script(stage: Stage) -> None:
            await asyncio.wait_for(stage.runner.health(), 10)

        left = self._exam(tmp_path, script)
        assert not left, f"left after close: {', '.join(left)}"

    # The harness.

    def _exam(self, tmp_path: Path, script: Script, *, close: bool = True) -> list[str]:
        """One life of the runner, on a loop of its own; answers what it has left behind, which is then removed."""
        settings = self.runner.settings(**self.settings)
        self.runner.early(settings)
        left: list[str] = []

        async def life() -> None:
            stage = Stage(tmp_path, self.runner, self.settings, self.blobs)
            await stage.open()
            try:
                await script(stage)
                if close:
                    await stage.close()
            finally:
                await stage.die()
                left.extend(stage.leftovers())

        own_loop = asyncio.Runner(loop_factory=asyncio.new_event_loop)  # leaves the current loop of others alone
        with private_places(tmp_path), processes.subreaper(), own_loop:
            own_loop.run(life())
        return left

    async def _lasting(self, stage: Stage) -> tuple[StageRequest, Handle, "asyncio.Future[Outcome]"]:
        """Start `lasts` and see that it goes on."""
        request = stage.request(self.lasts)
        handle = await stage.start(request)
        waiting = asyncio.ensure_future(stage.wait(request, handle, 10 * self.limit_s))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self.limit_s if self.reports else MOMENT_S)
        while loop.time() < deadline and not waiting.done() and not request.reports:
            await asyncio.wait([waiting], timeout=0.01)
        assert not waiting.done(), f"`lasts` ended by itself: {waiting.result()}"
        return request, handle, waiting

    async def _stopped(
        self, stage: Stage, request: StageRequest, handle: Handle, waiting: "asyncio.Future[Outcome]"
    ) -> None:
        """Stop the job and see that it ends."""
        await stage.stop(request, handle, self.grace_s)
        limit_s = self.grace_s + testing_stage.STOP_EXTRA_S
        await asyncio.wait([waiting], timeout=limit_s)
        assert waiting.done(), f"`wait` did not return within {limit_s:g} s after `stop`"
        _failed(waiting.result())

    def _session_key(self, stage: Stage) -> None:
        """Skip without sessions; the key must be the same for the same params."""
        keys = [stage.runner.session_key(stage.request(self.succeeds).params) for _ in range(2)]
        if keys[0] is None:
            pytest.skip("the runner has no sessions")
        assert isinstance(keys[0], str), f"session_key answered {keys[0]!r}, expected a str or None"
        assert keys[0] == keys[1], f"session_key answers {keys[0]!r} and {keys[1]!r} for the same params"


async def _cancelled(future: "asyncio.Future[Any]", after_s: float = 0.01) -> None:
    await asyncio.wait([future], timeout=after_s)
    future.cancel()
    await asyncio.wait([future])
    if not future.cancelled():
        future.exception()  # seen


def _succeeded(outcome: Outcome) -> None:
    assert outcome.error is None, f"it failed: {outcome.error}"


def _failed(outcome: Outcome) -> Failure:
    assert outcome.error is not None, f"it succeeded with {outcome.result!r:.200}, expected a failure"
    return outcome.error
