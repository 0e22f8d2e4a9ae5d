"""The small parts of the engine, each by itself."""

import asyncio
import json
import math
import signal
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from hpcq.core.job import Treatment
from hpcq.engine import environment, files
from hpcq.engine.attempt import PROGRESS_S, Attempt, Surroundings
from hpcq.engine.driver import SessionSlot
from hpcq.engine.host import LoopHost, Overrun, RunnerFault, ThreadHost
from hpcq.engine.hub import EventHub
from hpcq.engine.ids import uuid7
from hpcq.engine.scope import Scope, ScopeSpawn
from hpcq.engine.verdict import checked, checked_slots, failure_of
from hpcq.plugin import Failure, Infra, Outcome, Rejected, Slot, Usage
from hpcq.store.rows import EventRow
from tests.support.wait import wait_until


def test_ids_are_uuids_of_version_7_and_increase() -> None:
    ids = [uuid7() for _ in range(10_000)]
    assert ids == sorted(set(ids))
    assert {(uuid.UUID(id_).version, uuid.UUID(id_).variant) for id_ in ids} == {(7, uuid.RFC_4122)}


def test_a_job_sees_neither_settings_nor_credentials_nor_what_is_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HPCQ_TOKEN", "BROWSERSTACK_ACCESS_KEY", "LAMBDATEST_X", "MY_SECRET", "PLAIN"):
        monkeypatch.setenv(name, "x")
    seen = environment.base(("MY_*",))
    assert seen["PLAIN"] == "x"
    assert not {"HPCQ_TOKEN", "BROWSERSTACK_ACCESS_KEY", "LAMBDATEST_X", "MY_SECRET"} & set(seen)


def test_list_resources_are_told_by_name_and_gpus_to_cuda(tmp_path: Path) -> None:
    env = environment.of_attempt(
        {},
        job_id="j",
        attempt=2,
        queue="q",
        slot="q-1",
        folder=tmp_path,
        artifacts=tmp_path,
        kept=tmp_path,
        items=[("gpu", ("0", "1")), ("licence", ("a",))],
    )
    assert (env["CUDA_VISIBLE_DEVICES"], env["HPCQ_RESOURCE_GPU"], env["HPCQ_RESOURCE_LICENCE"]) == ("0,1", "0,1", "a")
    assert (env["HPCQ_JOB_ID"], env["HPCQ_ATTEMPT"], env["HPCQ_QUEUE"], env["HPCQ_SLOT"]) == ("j", "2", "q", "q-1")


def test_artifacts_are_listed_with_their_folders_and_without_links(tmp_path: Path) -> None:
    folder = files.job_folder(tmp_path, uuid7())
    files.make(folder.artifacts / "a")
    (folder.artifacts / "a" / "b.txt").write_text("123")
    (folder.artifacts / "c").write_text("")
    (folder.artifacts / "out").symlink_to("/etc/passwd")
    assert folder.artifact_list() == [{"name": "a/b.txt", "size": 3}, {"name": "c", "size": 0}]
    assert ((folder.artifacts / "a").stat().st_mode & 0o777) == 0o700


def test_what_a_runner_raises_is_told_apart() -> None:
    kinds = {
        type(error).__name__: failure_of(error).error for error in (Rejected("too big"), Infra("gone"), KeyError(1))
    }
    assert {name: error.type for name, error in kinds.items() if error} == {
        "Rejected": "rejected",
        "Infra": "infra",
        "KeyError": "exception",
    }


BAD: list[object] = [
    "text",
    None,
    Outcome(result=object()),
    Outcome(result="x" * 70_000),
    Outcome(result="\ud800"),
    Outcome(error=Failure("broken", "x")),  # type: ignore[arg-type]
    Outcome(error=Failure("exit", "x", exit_code=2**70)),
    Outcome(usage=Usage(cpu_s=object())),  # type: ignore[arg-type]
    Outcome(usage=Usage(cpu_s=math.nan)),
    Outcome(usage=(1, 2)),  # type: ignore[arg-type]
    Outcome(error=Failure("exit", KeyError("x"))),  # type: ignore[arg-type]
    Outcome(error=Failure("exit", "x", exit_code="1")),  # type: ignore[arg-type]
    Outcome(error=Failure("signal", "x", signal=9.0)),  # type: ignore[arg-type]
    *(Outcome(error=Failure("exit", "x", retry_after_s=bad)) for bad in ("5", True, -1.0, math.inf, math.nan, 10**30)),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("bad", BAD)
def test_an_outcome_that_cannot_be_kept_is_a_failure(bad: object) -> None:
    outcome = checked(bad)
    assert outcome.error is not None
    assert outcome.error.type == "exception"


@pytest.mark.parametrize("make_host", [LoopHost, lambda: ThreadHost("test")])
async def test_a_call_that_overruns_its_limit_is_infra_and_a_timeout_of_its_own_is_not(
    make_host: type[LoopHost],
) -> None:
    host = make_host()

    async def sleeps() -> None:
        await asyncio.sleep(1000)

    async def times_out() -> None:
        raise TimeoutError("the device's")

    try:
        with pytest.raises(Overrun, match=r"start took longer than 0\.05 s"):
            await host.call(sleeps, 0.05, "start")
        with pytest.raises(TimeoutError, match="the device's"):
            await host.call(times_out, 5.0, "start")
    finally:
        await host.close()


def test_a_sound_failure_is_kept_as_it_is() -> None:
    sound = Outcome(error=Failure("signal", "x", signal=signal.SIGKILL, retry_after_s=0, worker_died=True))
    assert checked(sound) == sound


@pytest.mark.parametrize("make_host", [LoopHost, lambda: ThreadHost("test")])
@pytest.mark.parametrize("limit_s", [None, 5.0])
async def test_cancelled_errors_and_exits_of_a_runner_never_reach_the_loop(
    make_host: type[LoopHost], limit_s: float | None
) -> None:
    async def cancels() -> None:
        raise asyncio.CancelledError

    async def exits() -> None:
        raise SystemExit(3)

    host = make_host()
    try:
        with pytest.raises(RunnerFault, match="CancelledError"):
            await host.call(cancels, limit_s, "wait")
        with pytest.raises(RunnerFault, match="SystemExit"):
            await host.call(exits, limit_s, "wait")
    finally:
        await host.close()


@pytest.mark.parametrize("make_host", [LoopHost, lambda: ThreadHost("test")])
async def test_a_call_that_we_cancel_ourselves_is_cancelled(make_host: type[LoopHost]) -> None:
    host = make_host()
    begun, ended = threading.Event(), threading.Event()

    async def sleeps() -> None:
        begun.set()
        try:
            await asyncio.sleep(1000)
        finally:
            ended.set()

    try:
        calling = asyncio.ensure_future(host.call(sleeps, None, "wait"))
        await wait_until(begun.is_set)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await wait_until(ended.is_set)
    finally:
        await host.close()


@pytest.mark.parametrize(
    ("slots", "word"),
    [
        (None, "list of Slot"),
        (["x"], "is not a Slot"),
        ([Slot("")], "printable"),
        ([Slot("a\x00b")], "printable"),
        ([Slot("x"), Slot("x")], "different names"),
        ([Slot("x", None)], "labels of slot x"),  # type: ignore[arg-type]
        ([Slot("x", {"a": 1})], "map str to str"),  # type: ignore[dict-item]
        ([Slot("x", state="gone")], "ready and held"),  # type: ignore[arg-type]
        ([Slot("x", reason=ValueError())], "reason of slot x"),  # type: ignore[arg-type]
        ([Slot("x", device=["phone"])], "must be a mapping"),  # type: ignore[arg-type]
        ([Slot("x", device={"camera": object()})], "is not JSON"),
        ([Slot("x", device={"log": "x" * 10_000})], "bytes of JSON"),
    ],
)
def test_slots_that_the_core_cannot_work_with_are_refused_with_a_sentence(slots: Any, word: str) -> None:
    with pytest.raises((TypeError, ValueError), match=word):
        checked_slots(slots)


def test_sound_slots_are_offered_as_they_are() -> None:
    slots = (Slot("pixel 8", {"model": "8"}), Slot("b", state="held", reason="charging"))
    assert checked_slots(iter(slots)) == slots


def _spawn(scope: Scope, folder: Path, *, keep_children: bool = False) -> ScopeSpawn:
    return ScopeSpawn(
        scope,
        env=lambda: environment.base(()),
        output=lambda: folder / "output.log",
        cwd=lambda: folder,
        output_cap=1 << 20,
        keep_children=keep_children,
    )


@pytest.mark.parametrize("keep", [True, False])
async def test_only_an_attempt_remembers_the_processes_that_it_had(tmp_path: Path, keep: bool) -> None:
    scope = Scope(asyncio.get_running_loop(), shared=True)
    spawn = _spawn(scope, tmp_path, keep_children=keep)
    try:
        for _ in range(3):
            assert (await (await spawn(["true"])).wait()).code == 0
        assert len(spawn.children) == (3 if keep else 0)
    finally:
        await scope.close()


async def test_reports_in_a_tight_loop_are_kept_but_not_passed_on(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    scope = Scope(asyncio.get_running_loop())
    attempt = Attempt(
        around=Surroundings(tmp_path, {}, 1 << 20, "server"),
        job=1,
        job_id=uuid7(),
        number=1,
        attempt=1,
        queue="q",
        org_id="default",
        slot=SessionSlot("q-1", {}, _spawn(scope, tmp_path)),
        scope=scope,
        treatment=Treatment("q"),
        params=None,
        resources={},
        items=(),
        on_progress=lambda _, progress: told.append(progress),
    )
    begun = time.monotonic()
    for done in range(10_000):
        attempt.report(done, 10_000)
    assert attempt.progress == {"done": 9999, "total": 10_000, "message": ""}
    assert told[0]["done"] == 0
    assert len(told) <= 1 + (time.monotonic() - begun) / PROGRESS_S


def _event(seq: int, org: str | None) -> EventRow:
    return EventRow(seq, 0.0, "job.queued", org_id=org)


async def test_a_listener_of_one_org_hears_no_other() -> None:
    hub = EventHub()
    one, everyone = hub.subscribe("a"), hub.subscribe(None)
    hub.publish([_event(1, "a"), _event(2, "b"), _event(3, None)])
    hub.close()
    assert [event.seq async for events in one for event in events] == [1, 3]
    assert [event.seq async for events in everyone for event in events] == [1, 2, 3]


async def test_a_listener_that_lags_is_cut_off_and_the_others_are_not() -> None:
    hub = EventHub()
    slow, quick = hub.subscribe(None, limit=2), hub.subscribe(None, limit=10)
    for seq in range(5):
        hub.publish([_event(seq, None)])
    assert slow.overflowed
    assert [events async for events in slow] == []
    hub.close()
    assert len([event async for events in quick for event in events]) == 5
    assert json.dumps(hub.listeners) == "2"
