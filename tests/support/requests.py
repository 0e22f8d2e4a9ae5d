"""A request as a runner sees it, with a real launcher behind `spawn` and real folders."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcq.engine.launcher import Child, Launcher
from hpcq.plugin import Outcome


@dataclass
class PlainSlot:
    """`hpcq.plugin.SlotView`, without a session."""

    name: str = "local-1"
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def spawn(self) -> Any:
        raise AssertionError("this slot has no session")


@dataclass
class PlainRequest:
    """`hpcq.plugin.Request`."""

    launcher: Launcher
    root: Path
    params: Any
    attempt: int = 1
    job_id: str = "job"
    resources: Mapping[str, float] = field(default_factory=dict)
    deadline: float | None = None
    previous: Sequence[Outcome] = ()
    slot: PlainSlot = field(default_factory=PlainSlot)
    more_env: Mapping[str, str] = field(default_factory=dict)
    reports: list[tuple[float, float | None, str]] = field(default_factory=list)
    blobs: Mapping[str, Path] = field(default_factory=dict)  # by SHA-256 or app_version_id

    @property
    def key(self) -> str:
        return f"server-{self.job_id}-{self.attempt}"

    @property
    def work_dir(self) -> Path:
        return self._folder("work")

    @property
    def job_dir(self) -> Path:
        return self._folder("kept")

    @property
    def artifacts_dir(self) -> Path:
        return self._folder("artifacts")

    @property
    def output(self) -> Path:
        return self.root / "output.log"

    @property
    def env(self) -> Mapping[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HPCQ_JOB_ID": self.job_id,
            "HPCQ_RESULT": str(self.root / "result.json"),
            "HPCQ_PROGRESS": str(self.root / "progress.ndjson"),
            "HPCQ_ARTIFACTS": str(self.artifacts_dir),
            **self.more_env,
        }

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
        stdin: bytes | Path | None = None,
        output: Path | None = None,
    ) -> Child:
        return await self.launcher.spawn(
            argv, env=env or self.env, cwd=cwd or self.work_dir, stdin=stdin, output=output or self.output
        )

    def artifact(self, job_id: str, name: str) -> Path:
        raise FileNotFoundError(f"job {job_id} has no artifact {name}")

    def blob(self, name: str) -> Path:
        if name not in self.blobs:
            raise FileNotFoundError(f"nothing that the job names was uploaded as {name!r}")
        return self.blobs[name]

    def report(self, done: float, total: float | None = None, message: str = "") -> None:
        self.reports.append((done, total, message))

    def kept(self) -> dict[str, str]:
        """The artifacts: names and texts."""
        folder = self.artifacts_dir
        return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        return folder
