"""The small parts of the engine, each by itself."""

import asyncio
import json
import uuid
from pathlib import Path

import pytest

from hpcq.engine import environment, files
from hpcq.engine.host import LoopHost, Overrun, RunnerFault, ThreadHost
from hpcq.engine.hub import EventHub
from hpcq.engine.ids import uuid7
from hpcq.engine.verdict import checked, failure_of
from hpcq.plugin import Failure, Infra, Outcome, Rejected, Usage
from hpcq.store.rows import EventRow


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


async def test_cancelled_errors_and_exits_of_a_runner_never_reach_the_loop() -> None:
    async def cancels() -> None:
        raise asyncio.CancelledError

    async def exits() -> None:
        raise SystemExit(3)

    with pytest.raises(RunnerFault):
        await LoopHost().call(cancels, None, "wait")
    host = ThreadHost("test")
    with pytest.raises(RunnerFault, match="SystemExit"):
        await host.call(exits, None, "wait")
    await host.close()


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
