"""One attempt, as its runner sees it (`hpcq.plugin`'s Request). Folders are made when first asked for."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hpcq.core.job import Moment, Treatment
from hpcq.engine import environment, files
from hpcq.engine.scope import Scope, ScopeSpawn
from hpcq.engine.verdict import plain
from hpcq.plugin import Outcome, SlotView

PROGRESS_S = 1.0  # between two reports that are passed on


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all attempts share."""

    data_dir: Path
    env: Mapping[str, str]
    output_cap: int
    server_id: str


@dataclass(eq=False)
class Attempt:
    """A try at a job on a slot. Thread-safe: what it has is set before its runner sees it, or made idempotently."""

    around: Surroundings
    job: int
    job_id: str
    number: int  # the job's, as people see it
    attempt: int
    queue: str
    org_id: str
    slot: SlotView
    scope: Scope
    treatment: Treatment  # how the job was treated when it got the slot
    params: Any
    resources: Mapping[str, float]
    items: tuple[tuple[str, tuple[str, ...]], ...]
    on_progress: Callable[["Attempt", dict[str, Any]], None]
    dependencies: frozenset[str] = frozenset()
    pins: Mapping[str, str] = field(default_factory=dict)  # what its params name of uploaded files: the SHA-256
    session_key: str | None = None
    timeout_s: float | None = None
    previous: Sequence[Outcome] = ()
    deadline: float | None = None
    began: float | None = None  # monotonic, when the runner has begun it
    began_at: float | None = None  # wall
    progress: dict[str, Any] | None = None
    stop_grace_s: float | None = None  # it is to be stopped
    over: bool = False  # the runner is done with it: a stop comes too late
    _used: set[str] = field(default_factory=set)
    _told: float = float("-inf")  # monotonic, when progress was last passed on
    _telling: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def key(self) -> str:
        return f"{self.around.server_id}-{self.job}-{self.attempt}"

    @cached_property
    def folder(self) -> files.JobFolder:
        return files.job_folder(self.around.data_dir, self.job_id)

    @cached_property
    def work_dir(self) -> Path:
        self._used.add("work")
        return files.make(self.folder.work(self.attempt))

    @cached_property
    def job_dir(self) -> Path:
        return files.make(self.folder.kept)

    @cached_property
    def artifacts_dir(self) -> Path:
        self._used.add("artifacts")
        return files.make(self.folder.artifacts)

    @cached_property
    def output(self) -> Path:
        self._used.add("output")
        files.make(self.folder.attempt(self.attempt))
        return self.folder.output(self.attempt)

    @cached_property
    def env(self) -> Mapping[str, str]:
        return environment.of_attempt(
            self.around.env,
            job_id=self.job_id,
            attempt=self.attempt,
            queue=self.queue,
            slot=self.slot.name,
            folder=files.make(self.folder.attempt(self.attempt)),
            artifacts=self.artifacts_dir,
            kept=self.job_dir,
            items=self.items,
        )

    @cached_property
    def spawn(self) -> ScopeSpawn:
        return ScopeSpawn(
            self.scope,
            env=lambda: self.env,
            output=lambda: self.output,
            cwd=lambda: self.work_dir,
            output_cap=self.around.output_cap,
            memory_mb=self.resources.get("memory_mb"),
            keep_children=True,
        )

    def artifact(self, job_id: str, name: str) -> Path:
        """The file of an artifact of a job that this one depends on. Raises FileNotFoundError."""
        root = files.job_folder(self.around.data_dir, job_id).artifacts
        path = root / name
        if job_id not in self.dependencies or not path.resolve().is_relative_to(root.resolve()) or not path.is_file():
            raise FileNotFoundError(f"job {job_id} has no artifact {name}")
        return path

    def blob(self, name: str) -> Path:
        """An uploaded file that the params name, as it was at submit. Raises FileNotFoundError."""
        return files.pinned(self.around.data_dir, self.pins, name)

    def report(self, done: float, total: float | None = None, message: str = "") -> None:
        """Progress; the newest is kept, and at most one a second passed on: a runner may report in a tight loop."""
        progress = {"done": _number(done), "total": _number(total), "message": plain(str(message)[:1000])}
        self.progress = progress
        at = time.monotonic()
        with self._telling:
            if at - self._told < PROGRESS_S:
                return
            self._told = at
        self.on_progress(self, progress)

    # The engine's side.

    def begin(self, now: Moment) -> None:
        """The runner has begun: the attempt's time runs."""
        self.began, self.began_at = now.mono, now.wall
        self.deadline = self.began_at + self.timeout_s if self.timeout_s else None

    @property
    def has_output(self) -> bool:
        return "output" in self._used

    @property
    def has_artifacts(self) -> bool:
        return "artifacts" in self._used

    @property
    def has_processes(self) -> bool:
        return "spawn" in self.__dict__ and bool(self.spawn.children)

    @property
    def output_bytes(self) -> int:
        try:
            return self.output.stat().st_size if self.has_output else 0
        except OSError:
            return 0

    @property
    def truncated(self) -> bool:
        return self.has_processes and any(child.truncated for child in self.spawn.children)

    async def clean(self) -> list[dict[str, object]] | None:
        """Remove what an attempt does not keep; the artifacts that there are, None when it never had any."""
        if "work" in self._used:
            files.remove_soon(self.work_dir)
        if not self.has_artifacts or files.is_empty(self.artifacts_dir):
            return None
        return await asyncio.to_thread(self.folder.artifact_list)


def _number(value: float | None) -> float | None:
    """What JSON can say and a client can read back; None for anything else."""
    return value if isinstance(value, int | float) and abs(value) < 2**63 else None
