"""Runs tests with the real Playwright as a queue does, but without the server around it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcq.engine.launcher import Launcher
from hpcq.plugin import Outcome
from hpcq_runners.appwright import run
from hpcq_runners.appwright.params import AppwrightParams
from hpcq_runners.appwright.settings import AppwrightSettings
from tests.support.requests import PlainRequest


@dataclass
class PlainContext:
    """As much of `hpcq.plugin.Context` as tests of tests need."""

    data_dir: Path
    settings: AppwrightSettings = field(default_factory=AppwrightSettings)
    launcher: Launcher | None = None
    queue: str = "local"

    async def spawn(self, argv: Sequence[str], **rest: Any) -> Any:
        """A child with the environment of this process."""
        assert self.launcher is not None
        return await self.launcher.spawn(argv, env=dict(os.environ), **rest)


@dataclass
class House:
    """A queue's folders in `root`, and its processes."""

    root: Path
    launcher: Launcher
    settings: AppwrightSettings = field(default_factory=AppwrightSettings)

    @property
    def context(self) -> Any:
        """The queue."""
        (self.root / "data").mkdir(exist_ok=True)
        return PlainContext(self.root / "data", self.settings, self.launcher)

    def request(self, params: dict[str, Any], job: str = "job", **more: Any) -> PlainRequest:
        """One attempt of a job."""
        folder = self.root / job
        folder.mkdir(exist_ok=True)
        return PlainRequest(self.launcher, folder, AppwrightParams(**params), job_id=job, **more)

    async def start(self, request: Any, target: run.Target = run.PLAIN) -> run.TestRun:
        """Begin it."""
        return await run.start(request, self.context, target)

    async def run(self, params: dict[str, Any], job: str = "job", **more: Any) -> Outcome:
        """From start to end."""
        return await (await self.start(self.request(params, job, **more))).outcome


def verdicts(outcome: Outcome) -> dict[str, str]:
    """Title to status."""
    return {test.title: test.status for test in outcome.tests}
