"""Part of the conformance kit: a small real server for one runner, which calls it in the documented order."""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from hpcq.plugin import testing_processes as processes
from hpcq.plugin.errors import Infra, Rejected
from hpcq.plugin.runner import Runner
from hpcq.plugin.types import JSON, Failure, Handle, Outcome, Slot
from hpcq.plugin.types import Spawn as SpawnCall

JSON_CAP = 64 * 1024
STOP_EXTRA_S = 5.0


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass
class StageSlot:
    """`hpcq.plugin.SlotView`."""

    name: str
    scope: processes.Scope
    labels: Mapping[str, str] = field(default_factory=dict)
    session_key: str | None = None

    @property
    def spawn(self) -> SpawnCall:
        return self.scope.spawn


class StageRequest:
    """`hpcq.plugin.Request`: an attempt with folders of its own, made when first asked for."""

    previous: Sequence[Outcome] = ()
    deadline: float | None = None

    def __init__(self, stage: "Stage", job: int, slot: StageSlot, params: Any) -> None:
        self._stage = stage
        self.job_id = f"job-{job}"
        self.attempt = 1
        self.key = f"exam-{stage.name}-{job}-1"
        self.params = params
        self.slot = slot
        self.resources: Mapping[str, float] = stage.runner_class.default_resources
        self.reports: list[tuple[float, float | None, str]] = []
        self.folder = stage.root / "jobs" / self.job_id
        self.scope = processes.Scope(lambda: self.env, lambda: self.output, lambda: self.work_dir)

    @property
    def spawn(self) -> SpawnCall:
        return self.scope.spawn

    @property
    def work_dir(self) -> Path:
        return _made(self.folder / "attempt" / "work")

    @property
    def job_dir(self) -> Path:
        return _made(self.folder / "kept")

    @property
    def artifacts_dir(self) -> Path:
        return _made(self.folder / "artifacts")

    @property
    def output(self) -> Path:
        return _made(self.folder / "attempt") / "output.log"

    @cached_property
    def env(self) -> Mapping[str, str]:
        folder = _made(self.folder / "attempt")
        return {
            **os.environ,
            "HPCQ_JOB_ID": self.job_id,
            "HPCQ_ATTEMPT": str(self.attempt),
            "HPCQ_QUEUE": self._stage.queue,
            "HPCQ_SLOT": self.slot.name,
            "HPCQ_ARTIFACTS": str(self.artifacts_dir),
            "HPCQ_RESULT": str(folder / "result.json"),
            "HPCQ_PROGRESS": str(folder / "progress.ndjson"),
            "HPCQ_JOB_DIR": str(self.job_dir),
        }

    def artifact(self, job_id: str, name: str) -> Path:
        path = self._stage.root / "jobs" / job_id / "artifacts" / name
        if not path.is_file():
            raise FileNotFoundError(f"job {job_id} has no artifact {name}")
        return path

    def blob(self, name: str) -> Path:
        if name not in self._stage.blobs:
            raise FileNotFoundError(f"nothing that the job names was uploaded as {name!r}")
        return self._stage.blobs[name]

    def report(self, done: float, total: float | None = None, message: str = "") -> None:
        self.reports.append((done, total, message))

    def artifacts(self) -> list[str]:
        """What the job has left in its artifacts folder."""
        folder = self.folder / "artifacts"
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class _State:
    """`hpcq.plugin.State`, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _values(self) -> dict[str, JSON]:
        return dict(json.loads(self._path.read_text())) if self._path.exists() else {}

    async def get(self, key: str) -> JSON:
        return self._values().get(key)

    async def put(self, key: str, value: JSON) -> None:
        self._path.write_text(json.dumps({**self._values(), key: value}))


class StageContext:
    """`hpcq.plugin.Context`."""

    def __init__(self, stage: "Stage", settings: Any) -> None:
        self.queue = stage.queue
        self.settings = settings
        self.data_dir = _made(stage.root / "data")
        self.state = _State(stage.root / "state.json")
        self.log = logging.getLogger(f"hpcq.exam.{stage.queue}")
        self.scope = processes.Scope(
            lambda: os.environ, lambda: stage.root / "runner.log", lambda: self.data_dir, shared=True
        )
        self.slots: list[Slot] = []
        self.paused = ""

    @property
    def spawn(self) -> SpawnCall:
        return self.scope.spawn

    def set_slots(self, slots: Sequence[Slot]) -> None:
        self.slots = list(slots)

    def pause(self, reason: str) -> None:
        self.paused = reason

    def resume(self, reason: str) -> None:
        if self.paused == reason:
            self.paused = ""


class Stage:
    """One life of a runner. `root` keeps what the server keeps over restarts."""

    queue = "exam"

    def __init__(
        self,
        root: Path,
        runner_class: type[Runner],
        settings: Mapping[str, Any],
        blobs: Mapping[str, Path] | None = None,
    ) -> None:
        self.root = root
        self.name = f"{zlib.crc32(bytes(root)):08x}"  # of this test, over restarts: a key is never used twice
        self.blobs = blobs or {}
        self.runner_class = runner_class
        self.runner = runner_class()
        self.context = StageContext(self, runner_class.settings(**settings))
        self._adapter: TypeAdapter[Any] = TypeAdapter(runner_class.params)
        self._slots: dict[str, StageSlot] = {}
        self._requests: list[StageRequest] = []
        self._jobs = 0
        self._before: tuple[set[processes.Entry], set[str]] = (set(), set())

    async def open(self) -> None:
        self._before = processes.descendants(os.getpid()), processes.listening()
        await asyncio.wait_for(self.runner.open(self.context), 30)

    def request(self, params: Mapping[str, Any], slot: int = 0) -> StageRequest:
        """A new job with these params, validated as at submit."""
        self._jobs += 1
        return self.again(self._jobs, params, slot)

    def again(self, job: int, params: Mapping[str, Any], slot: int = 0) -> StageRequest:
        """The same attempt as the job of that number, as after a restart."""
        self._jobs = max(self._jobs, job)
        request = StageRequest(self, job, self._slot(slot), self._adapter.validate_python(dict(params)))
        self._requests.append(request)
        return request

    def _slot(self, number: int) -> StageSlot:
        offered = self.context.slots
        name = offered[number % len(offered)].name if offered else f"{self.queue}-{number}"
        if name not in self._slots:
            labels = offered[number % len(offered)].labels if offered else {}
            scope = processes.Scope(
                lambda: os.environ, lambda: self.root / f"{name}.log", lambda: self.context.data_dir, shared=True
            )
            self._slots[name] = StageSlot(name, scope, labels)
        return self._slots[name]

    async def prepare(self, request: StageRequest) -> None:
        """Give the slot the job's session, if it has another one."""
        slot, key = request.slot, self.runner.session_key(request.params)
        if key is None or key == slot.session_key:
            return
        await self.release(slot)
        slot.session_key = key
        try:
            await asyncio.wait_for(self.runner.prepare(slot, request), 600)
        except BaseException:
            await self.release(slot)
            raise

    async def release(self, slot: StageSlot) -> None:
        if slot.session_key is not None:
            slot.session_key = None
            await asyncio.wait_for(self.runner.release(slot), 60)
        await slot.scope.end()

    async def start(self, request: StageRequest) -> Handle:
        """Prepare and start; the handle comes back from JSON, as the server gives it after a restart."""
        await self.prepare(request)
        handle = await asyncio.wait_for(self.runner.start(request), 60)
        assert isinstance(handle, dict), f"start returned {handle!r:.200}, expected a dict"
        try:
            text = json.dumps(handle)
        except (TypeError, ValueError) as error:
            raise AssertionError(f"the handle {handle!r:.200} is not JSON: {error}") from None
        assert len(text) <= JSON_CAP, f"the handle has {len(text)} bytes of JSON, at most {JSON_CAP} are kept"
        copy: Handle = json.loads(text)
        return copy

    async def wait(self, request: StageRequest, handle: Handle, limit_s: float) -> Outcome:
        """The attempt's outcome, checked for its shape; its processes are ended, as the server does."""
        try:
            outcome = await asyncio.wait_for(self.runner.wait(request, handle), limit_s)
        except TimeoutError:
            raise AssertionError(f"wait did not return within {limit_s:g} s") from None
        except Rejected as error:
            outcome = Outcome(error=Failure("rejected", str(error)))
        except Infra as error:
            outcome = Outcome(error=Failure("infra", str(error)))
        finally:
            await self.finish(request)
        return checked(outcome)

    async def finish(self, request: StageRequest) -> None:
        """The end of an attempt: its processes go, and its private folder."""
        await request.scope.end()
        shutil.rmtree(request.folder / "attempt" / "work", ignore_errors=True)

    async def stop(self, request: StageRequest, handle: Handle, grace_s: float) -> None:
        try:
            await asyncio.wait_for(self.runner.stop(request, handle, grace_s), grace_s + STOP_EXTRA_S)
        except TimeoutError:
            raise AssertionError(f"stop took longer than its grace of {grace_s:g} s and {STOP_EXTRA_S:g} s") from None

    async def run(self, params: Mapping[str, Any], limit_s: float, slot: int = 0) -> tuple[StageRequest, Outcome]:
        """A whole job."""
        request = self.request(params, slot)
        try:
            handle = await self.start(request)
        except (Rejected, Infra) as error:
            await self.finish(request)
            return request, Outcome(error=Failure("rejected" if isinstance(error, Rejected) else "infra", str(error)))
        return request, await self.wait(request, handle, limit_s)

    async def close(self) -> None:
        for slot in self._slots.values():
            await self.release(slot)
        await asyncio.wait_for(self.runner.close(), 30)
        await self.context.scope.end()

    async def die(self) -> None:
        """A crash of the server: no `close`; the launchers end all that was spawned."""
        slots, attempts = self._slots.values(), self._requests
        for scope in (*(one.scope for one in attempts), *(slot.scope for slot in slots), self.context.scope):
            await scope.end()

    def leftovers(self) -> list[str]:
        """What there is now and was not before `open`: processes, listening ports, tasks, files out of place."""
        entries, ports = self._before
        left = processes.descendants(os.getpid()) - entries
        found = [str(entry) for entry in left]
        while left:  # what is killed may just have made another
            processes.kill_all(left)
            left = processes.descendants(os.getpid()) - entries
        found += sorted(processes.listening() - ports)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        found += [f"asyncio task {task.get_name()} ({task.get_coro()!r:.120})" for task in tasks]
        return found + self._stray_files()

    def _stray_files(self) -> list[str]:
        known = {"state.json", "runner.log", *(f"{name}.log" for name in self._slots)}
        stray = []
        for path in sorted(self.root.rglob("*")):
            parts = path.relative_to(self.root).parts
            fine = parts[0] == "data" or parts[0] in known or _in_job_folder(parts)
            if not path.is_dir() and not fine:
                stray.append(f"file {path}")
        return stray


def _in_job_folder(parts: tuple[str, ...]) -> bool:
    if len(parts) < 4 or parts[0] != "jobs":
        return False
    kept = parts[2] in ("kept", "artifacts")
    return kept or parts[2:] in {("attempt", name) for name in ("output.log", "result.json", "progress.ndjson")}


def checked(outcome: Any) -> Outcome:
    """Raise AssertionError unless it is what `wait` may return."""
    assert isinstance(outcome, Outcome), f"wait returned {outcome!r:.200}, expected an Outcome"
    if outcome.error is not None:
        assert isinstance(outcome.error, Failure), f"the outcome's error is {outcome.error!r:.200}, expected a Failure"
        assert outcome.error.message.strip(), f"a failure of type {outcome.error.type} has no message"
        return outcome
    try:
        size = len(json.dumps(outcome.result, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"the result {outcome.result!r:.200} is not JSON: {error}") from None
    assert size <= JSON_CAP, f"the result has {size} bytes of JSON, at most {JSON_CAP} are kept: write an artifact"
    return outcome


@contextlib.contextmanager
def private_places(root: Path) -> Iterator[None]:
    """While it lasts, the current, the temporary and the home folder are empty ones below `root`."""
    kept_env = {name: os.environ.get(name) for name in ("TMPDIR", "HOME")}
    kept_cwd, kept_tmp = Path.cwd(), tempfile.tempdir
    os.environ.update(TMPDIR=str(_made(root / "tmp")), HOME=str(_made(root / "home")))
    tempfile.tempdir = None
    os.chdir(_made(root / "cwd"))
    try:
        yield
    finally:
        os.chdir(kept_cwd)
        tempfile.tempdir = kept_tmp
        for name, value in kept_env.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextlib.asynccontextmanager
async def loop_lag() -> AsyncIterator[list[float]]:
    """Yields a list whose one item is, afterwards, the longest time in seconds that the loop was held up."""
    worst = [0.0]

    async def tick() -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.01)
            worst[0] = max(worst[0], loop.time() - before - 0.01)

    ticker = asyncio.create_task(tick())
    try:
        yield worst
        await asyncio.sleep(0.02)
    finally:
        ticker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticker
