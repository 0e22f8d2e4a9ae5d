"""Projects that are uploaded, and projects that are split into jobs: what one job does or spoils is its own affair."""

import asyncio
import io
import os
import tarfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hpcq.engine.launcher import Launcher
from hpcq.plugin import Rejected
from hpcq_runners.appwright.params import AppwrightParams
from hpcq_runners.appwright.settings import AppwrightSettings
from hpcq_runners.appwright.split import split
from hpcq_runners.fields import Blob
from hpcq_runners.shell import ShellRunner
from tests.support.playwright import packed as tar_of
from tests.support.playwright import playwright, project
from tests.support.testruns import House, PlainContext, verdicts

GOOD = 'test("good", async () => {});'
SHA256 = "0123456789abcdef" * 4
UPLOADED = {"test_path": "tests", "cwd": {"blob": SHA256}}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    launcher = await Launcher.open()
    (tmp_path / "queue").mkdir()
    yield House(tmp_path / "queue", launcher)
    await launcher.close()


def packed(path: Path, **specs: str) -> Path:
    """The tar of a project."""
    with tarfile.open(path, "w:gz") as tar:
        files = {"playwright.config.js": "module.exports = {};"}
        head = 'const { test, expect } = require("@playwright/test");\n'
        files |= {f"tests/{name}.spec.js": head + text for name, text in specs.items()}
        for name, text in files.items():
            member, data = tarfile.TarInfo(name), text.encode()
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


# Uploads.


async def test_what_a_test_changes_in_an_uploaded_project_no_other_job_sees(house: House, tmp_path: Path) -> None:
    spec = """const fs = require("fs");
test("is alone", async () => {
  expect(fs.existsSync(__filename + ".trace")).toBe(false);
  fs.writeFileSync(__filename + ".trace", "");
  fs.appendFileSync(__filename, 'test("smuggled in", async () => {});');
});"""
    house.settings = AppwrightSettings(node_modules=playwright())
    blobs = {SHA256: packed(tmp_path / "a", one=spec)}
    for job in ("first", "second"):
        outcome = await house.run(UPLOADED, job, blobs=blobs)
        assert verdicts(outcome) == {"is alone": "passed"}, (house.root / job / "output.log").read_text()
    assert not [path for path in house.context.data_dir.rglob("*") if path.name.startswith("one.spec.js")]


@pytest.fixture
async def shell(house: House) -> AsyncIterator[ShellRunner]:
    runner = ShellRunner()
    house.settings = AppwrightSettings(node_modules=playwright())
    await runner.open(house.context)
    yield runner
    await runner.close()


async def test_a_start_does_not_wait_for_the_unpacking_which_a_stop_ends(
    house: House, shell: ShellRunner, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "endless")
    request = house.request(UPLOADED, blobs={SHA256: tmp_path / "endless"})
    handle = await asyncio.wait_for(shell.start(request), 10)
    waiting = asyncio.ensure_future(shell.wait(request, handle))
    writer = await asyncio.wait_for(asyncio.to_thread((tmp_path / "endless").open, "wb"), 20)  # the child reads it
    assert not waiting.done()
    await shell.stop(request, handle, 5.0)
    outcome = await asyncio.wait_for(waiting, 20)
    writer.close()
    assert outcome.error
    assert (outcome.error.type, outcome.error.message) == ("signal", "stopped before any test had begun")
    assert not shell._begun


async def test_tests_that_cannot_be_started_are_forgotten(house: House, shell: ShellRunner) -> None:
    request = house.request(UPLOADED)
    handle = await shell.start(request)
    with pytest.raises(Rejected, match="upload it again"):
        await shell.wait(request, handle)
    assert not shell._begun


# Splits.


async def files(house: House, folder: Path, **params: Any) -> list[str]:
    """Those that the tests of a project are split into."""
    asked = AppwrightParams.model_validate({"test_path": "tests", "cwd": str(folder), "split": "file", **params})
    parts = await split(asked, house.context, lambda _: folder)
    assert not list(house.context.data_dir.glob("listing-*"))
    return [part.file.removeprefix("tests/").removesuffix(".spec.js") for part in parts]


@pytest.mark.parametrize("projects", ["", 'testIgnore: "none", projects: [{ name: "a", testIgnore: /none/ }]'])
async def test_a_file_that_cannot_be_read_becomes_a_job_and_does_not_spoil_the_others(
    house: House, tmp_path: Path, projects: str
) -> None:
    config = f"module.exports = {{ {projects} }};"
    bad = {"missing": 'require("./not-there");', "syntax": "test(", "other": 'require("../lib.js");'}
    folder = project(tmp_path / "shop (1+1)", config, good=GOOD, **bad)
    (folder / "lib.js").write_text("throw new Error('mine');")
    assert await files(house, folder) == ["good", "missing", "other", "syntax"]


async def test_where_no_file_can_be_read_the_split_says_why(house: House, tmp_path: Path) -> None:
    folder = project(tmp_path / "shop", bad='require("./not-there");', worse="test(")
    with pytest.raises(Rejected, match=r"Cannot find module '\./not-there'"):
        await files(house, folder)


async def test_options_that_choose_tests_also_choose_files(house: House, tmp_path: Path) -> None:
    folder = project(tmp_path / "shop", one=GOOD, slow='test("slow", async () => {});')
    assert await files(house, folder, args=["--grep-invert=slow", "--shard=1/7"]) == ["one"]
    assert await files(house, folder) == ["one", "slow"]


async def test_the_variables_of_a_split_job_reach_the_config_and_no_command_line(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = 'if (process.env.WORD !== "hush") throw new Error(); module.exports = {};'
    folder = project(tmp_path / "shop", config, one=GOOD)
    spawn, seen = PlainContext.spawn, []

    async def noting(context: PlainContext, argv: Sequence[str], **rest: Any) -> Any:
        seen.append(argv)
        return await spawn(context, argv, **rest)

    monkeypatch.setattr(PlainContext, "spawn", noting)
    assert await files(house, folder, env={"WORD": "hush", "PLAYWRIGHT_JSON_OUTPUT_NAME": "elsewhere"}) == ["one"]
    assert seen
    assert "hush" not in str(seen)


async def test_the_queues_variables_reach_tests_and_listings_below_the_jobs_own(house: House, tmp_path: Path) -> None:
    config = 'if (process.env.WORD !== "queue") throw new Error(process.env.WORD); module.exports = {};'
    spec = 'test("sees", async () => { console.log("OTHER", process.env.OTHER); });'
    folder = project(tmp_path / "shop", config, one=spec)
    house.settings = AppwrightSettings(env={"WORD": "queue", "OTHER": "queue"})
    assert await files(house, folder) == ["one"]
    request = house.request({"test_path": "tests", "cwd": str(folder), "env": {"OTHER": "job"}})
    assert (await (await house.start(request)).outcome).error is None
    assert "OTHER job" in request.output.read_text()


SETUP = """module.exports = { projects: [
  { name: "sign in", testMatch: /auth/, teardown: "sign out" },
  { name: "sign out", testMatch: /leave/ },
  { name: "shop", dependencies: ["sign in"], testIgnore: /auth|leave/ }] };"""


async def test_files_that_only_others_depend_on_become_no_jobs_of_their_own(house: House, tmp_path: Path) -> None:
    folder = project(tmp_path / "shop", SETUP, auth=GOOD, leave=GOOD, one=GOOD, two=GOOD)
    assert await files(house, folder) == ["one", "two"]
    assert await files(house, folder, project="shop") == ["one", "two"]
    assert await files(house, folder, project="sign in") == ["auth"]
    assert await files(house, folder, args=["--no-deps"]) == ["auth", "leave", "one", "two"]
    (folder / "tests" / "steps").mkdir()
    (folder / "tests" / "auth.spec.js").rename(folder / "tests" / "steps" / "auth.spec.js")
    assert await files(house, folder, test_path="tests/steps") == ["steps/auth"], "who asks for nothing else gets them"
    outcome = await house.run({"test_path": "tests/one.spec.js", "cwd": str(folder), "project": "shop"})
    assert len(outcome.tests) == 3, "they run with each job"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"grep": "zzz"}, "no tests found in tests whose title matches 'zzz': see"),
        ({"project": "nope"}, 'Project(s) "nope" not found'),
        ({"project": "a", "grep": "zzz"}, "no tests found in tests of project a whose title matches 'zzz'"),
    ],
)
async def test_a_split_that_chooses_no_test_says_by_what(
    house: House, tmp_path: Path, params: dict[str, str], words: str
) -> None:
    folder = project(tmp_path / "shop", 'module.exports = { projects: [{ name: "a" }] };', one=GOOD)
    with pytest.raises(Rejected) as refused:
        await files(house, folder, **params)
    assert words in str(refused.value)


async def test_what_throws_in_an_upload_is_told_on_one_line_and_by_its_place_in_the_project(
    house: House, tmp_path: Path
) -> None:
    config = "const deep = (n) => { if (n) deep(n - 1); else throw new Error('mine\\nand more'); };\ndeep(30);"
    folder = project(tmp_path / "shop", config, one=GOOD)
    house.settings = AppwrightSettings(node_modules=playwright())
    blobs = {SHA256: tmp_path / "shop.tar"}
    blobs[SHA256].write_bytes(tar_of(folder))
    asked = AppwrightParams(test_path="tests", cwd=Blob(blob=SHA256), split="file")
    with pytest.raises(Rejected) as refused:
        await split(asked, house.context, blobs.__getitem__)
    outcome = await house.run(UPLOADED, blobs=blobs)
    assert outcome.error
    for said in (str(refused.value), outcome.error.message):
        assert "Error: mine and more (playwright.config.js:1:" in said
        assert len(said) < 200
        assert "\n" not in said
        assert str(tmp_path) not in said
