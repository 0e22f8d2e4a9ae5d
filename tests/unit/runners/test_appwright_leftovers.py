"""What an earlier life of a queue has left of tests goes when the queue is opened anew, whichever runner it has."""

from pathlib import Path
from typing import Any

import pytest

from hpcq.plugin import Runner
from hpcq.plugin.testing_stage import Stage
from hpcq_runners.adb.runner import AdbRunner
from hpcq_runners.device_farm.runner import DeviceFarmRunner
from hpcq_runners.shell import ShellRunner


@pytest.mark.parametrize(
    ("runner", "settings"), [(ShellRunner, {}), (AdbRunner, {"adb": "/nowhere/adb"}), (DeviceFarmRunner, {})]
)
async def test_a_runner_that_is_opened_clears_what_an_earlier_life_has_left(
    tmp_path: Path, runner: type[Runner], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BROWSERSTACK_USERNAME", "BROWSERSTACK_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    stage = Stage(tmp_path, runner, settings)
    for name in ("compiled", "listing-x"):
        (stage.context.data_dir / name / "upload").mkdir(parents=True)
    await stage.open()
    assert not [path for path in stage.context.data_dir.iterdir() if path.name in ("compiled", "listing-x")]
    await stage.close()
