"""Tests run by the real Playwright: every verdict, every way to go wrong, and what is left where."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree as ET

import psutil
import pytest

from hpcq.engine.launcher import Launcher
from hpcq.plugin import Rejected
from hpcq_runners.appwright.run import Target
from hpcq_runners.appwright.settings import AppwrightSettings
from tests.support.playwright import project, write_spec
from tests.support.testruns import House, verdicts
from tests.support.wait import wait_until

MIXED = """
test("passes", async () => {});
test.describe("group", () => { test("fails", async () => { expect(1).toBe(2); }); });
test("is flaky", async ({}, info) => { expect(info.retry).toBe(1); });
test.skip("is skipped", async () => {});
test("times out", async () => { test.setTimeout(50); await new Promise(() => {}); });
test("fails as expected", async () => { test.fail(); expect(1).toBe(2); });
"""
LASTS = """
test("ends", async () => {});
test("lasts", async () => { test.setTimeout(0); await new Promise(() => {}); });
"""
GOOD = 'test("a", async () => {});'
NOTES = "fs.appendFileSync(process.env.NOTES, `${info.title}\\n`)"
ONE_WORKER = "module.exports = { workers: 1 };\n"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    launcher = await Launcher.open()
    (tmp_path / "queue").mkdir()
    yield House(tmp_path / "queue", launcher)
    await launcher.close()


def names(folder: Path) -> set[str]:
    """All files of a project or an artifacts folder."""
    found = (path for path in folder.rglob("*") if path.is_file() and "node_modules" not in path.parts)
    return {str(path.relative_to(folder)) for path in found}


async def test_every_verdict_is_told_and_nothing_is_written_into_the_project(house: House, tmp_path: Path) -> None:
    folder = project(tmp_path / "shop", mixed=MIXED)
    before = names(folder)
    request = house.request({"test_path": "tests/mixed.spec.js", "cwd": str(folder), "args": ["--retries=1"]})
    outcome = await (await house.start(request)).outcome
    assert verdicts(outcome) == {
        "passes": "passed",
        "group › fails": "failed",  # noqa: RUF001
        "is flaky": "flaky",
        "is skipped": "skipped",
        "times out": "failed",
        "fails as expected": "passed",
    }
    assert outcome.error
    assert (outcome.error.type, outcome.error.message) == ("exit", "2 of 6 tests failed")
    assert {name: outcome.result[name] for name in ("passed", "failed", "flaky", "skipped")} == {
        "passed": 2, "failed": 2, "flaky": 1, "skipped": 1,
    }  # fmt: skip
    failed = next(test for test in outcome.tests if test.title.endswith("fails"))
    assert (failed.file, failed.line, failed.retries) == ("tests/mixed.spec.js", 4, 1)
    assert failed.error
    assert failed.error.startswith("Error: expect(received).toBe(expected)")
    assert "\x1b" not in failed.error
    assert names(folder) == before
    assert names(request.artifacts_dir / "attempt-1") == {
        "report.json", "junit.xml", "blob-report/report-job-1.zip",
    }  # fmt: skip
    junit = ET.parse(request.artifacts_dir / "attempt-1" / "junit.xml").getroot()
    flaky = junit.find(".//testcase[@name='is flaky']")
    assert flaky is not None
    assert flaky.find("flakyFailure") is not None
    done, total, _ = request.reports[-1]
    assert (done, total) == (6, 6)


async def test_only_the_file_that_is_named_is_run(house: House, tmp_path: Path) -> None:
    spec = 'test("in " + require("path").basename(__filename), async () => {});'
    folder = project(tmp_path / "shop (1+1)", **{"a": spec, "aa": spec, "a.b": spec})
    write_spec(folder, "a", spec).rename(folder / "tests" / "a+.spec.js")
    outcome = await house.run({"test_path": "tests/a+.spec.js", "cwd": str(folder)})
    assert verdicts(outcome) == {"in a+.spec.js": "passed"}
    outcome = await house.run({"test_path": "tests", "cwd": str(folder)}, "folder")
    assert set(verdicts(outcome)) == {"in a+.spec.js", "in aa.spec.js", "in a.b.spec.js"}


async def test_a_retry_runs_exactly_the_tests_that_failed(house: House, tmp_path: Path) -> None:
    spec = f'const fs = require("fs");\ntest.beforeEach(({{}}, info) => {NOTES});\n' + "\n".join(
        f'test("{name}", async () => {{ expect(fs.existsSync(process.env.MENDED) || {good}).toBe(true); }});'
        for name, good in (("good", "true"), ("bad", "false"), ("bad.too", "false"), ("bad to", "true"))
    )
    folder = project(tmp_path / "shop", one=spec, two=spec)
    notes, mended = tmp_path / "notes", tmp_path / "mended"
    env = {"NOTES": str(notes), "MENDED": str(mended)}
    params = {"test_path": "tests", "cwd": str(folder), "env": env, "args": ["--shard=1/1"]}
    first = await house.run(params)
    assert first.error
    assert first.error.message == "4 of 8 tests failed"
    notes.unlink()
    mended.touch()
    second = await house.run(params, attempt=2, previous=[first])
    assert second.error is None
    assert notes.read_text().splitlines() == ["bad", "bad.too", "bad", "bad.too"]
    assert {test.id for test in second.tests} == {test.id for test in first.tests if test.status == "failed"}


async def test_a_retry_also_runs_what_no_attempt_got_to(house: House, tmp_path: Path) -> None:
    spec = "\n".join(
        f'test("{n}", async () => {{ if ("{n}" !== "0") expect(process.env.X).toBe("1"); }});' for n in range(4)
    )
    folder = project(tmp_path / "shop", ONE_WORKER, one=spec)
    params = {"test_path": "tests/one.spec.js", "cwd": str(folder), "args": ["-x"]}
    first = await house.run(params)
    assert verdicts(first) == {"0": "passed", "1": "failed", "2": "skipped", "3": "skipped"}
    second = await house.run({**params, "env": {"X": "1"}}, attempt=2, previous=[first])
    assert verdicts(second) == {"1": "passed", "2": "passed", "3": "passed"}


async def test_each_project_of_a_config_has_verdicts_of_its_own(house: House, tmp_path: Path) -> None:
    config = 'module.exports = { projects: [{ name: "old" }, { name: "new" }] };'
    spec = 'test("logs in", async ({}, info) => { expect(info.project.name).toBe(process.env.GOOD || "new"); });'
    folder = project(tmp_path / "shop", config, one=spec)
    params = {"test_path": "tests/one.spec.js", "cwd": str(folder)}
    first = await house.run(params)
    assert verdicts(first) == {"[old] › logs in": "failed", "[new] › logs in": "passed"}  # noqa: RUF001
    second = await house.run({**params, "env": {"GOOD": "old"}}, attempt=2, previous=[first])
    assert [test.id for test in second.tests] == [test.id for test in first.tests if test.status == "failed"]
    alone = await house.run({**params, "project": "new"}, "alone")
    assert verdicts(alone) == {"[new] › logs in": "passed"}, "by one name, however it is run"  # noqa: RUF001
    assert [test.id for test in alone.tests] == [test.id for test in first.tests if test.status == "passed"]


@pytest.mark.parametrize(
    ("spec", "more", "message"),
    [
        (
            'test("a", async () => {});',
            {"grep": "zzz"},
            "no tests found in tests/one.spec.js whose title matches 'zzz'",
        ),
        ("", {}, "no tests found in tests/one.spec.js"),
        ('require("./not-there");', {}, "Cannot find module './not-there'"),
        ("test(", {}, "SyntaxError"),
        (GOOD, {"project": "nope"}, 'Project(s) "nope" not found'),
    ],
    ids=["no title matches", "an empty file", "an import that fails", "bad syntax", "no such project"],
)
async def test_a_run_that_tests_nothing_says_why(
    house: House, tmp_path: Path, spec: str, more: dict[str, str], message: str
) -> None:
    folder = project(tmp_path / "shop", one=spec)
    outcome = await house.run({"test_path": "tests/one.spec.js", "cwd": str(folder), **more})
    assert outcome.error
    assert outcome.error.type == "exit"
    assert message in outcome.error.message
    assert not outcome.tests


@pytest.mark.parametrize(
    ("thrown", "kind"), [("connect ECONNREFUSED 127.0.0.1:1", "infra"), ("my own mistake", "exit")]
)
async def test_a_setup_that_throws_is_infra_only_if_the_machine_is_to_blame(
    house: House, tmp_path: Path, thrown: str, kind: str
) -> None:
    folder = project(
        tmp_path / "shop", 'module.exports = { globalSetup: "./setup.js" };', a='test("a", async () => {});'
    )
    (folder / "setup.js").write_text(f'module.exports = () => {{ throw new Error("{thrown}"); }};')
    outcome = await house.run({"test_path": "tests", "cwd": str(folder)})
    assert outcome.error
    assert outcome.error.type == kind
    assert thrown in outcome.error.message


async def test_a_stop_ends_playwright_kindly_and_its_verdicts_are_kept(house: House, tmp_path: Path) -> None:
    folder = project(tmp_path / "shop", one=LASTS)
    request = house.request({"test_path": "tests", "cwd": str(folder)})
    running = await house.start(request)
    await wait_until(lambda: "lasts" in str(request.reports), 30, "the second test")
    offspring = psutil.Process(running.pid).children(recursive=True)
    await running.stop(20.0)
    outcome = await running.outcome
    assert outcome.error
    assert (outcome.error.type, outcome.error.signal) == ("signal", 2)
    assert outcome.error.message == "stopped while running tests/one.spec.js:4 › lasts"  # noqa: RUF001
    assert verdicts(outcome) == {"ends": "passed"}
    assert offspring
    assert not [each for each in offspring if each.is_running()]


async def test_what_does_not_listen_is_killed_after_the_grace(house: House, tmp_path: Path) -> None:
    folder = project(tmp_path / "shop", one='test("spins", async () => { console.log("spinning"); for (;;) {} });')
    request = house.request({"test_path": "tests", "cwd": str(folder)})
    running = await house.start(request)
    await wait_until(lambda: "spins" in str(request.reports), 30, "the test")
    offspring = psutil.Process(running.pid).children(recursive=True)
    await running.stop(0.2)
    outcome = await asyncio.wait_for(running.outcome, 20)
    assert outcome.error
    assert outcome.error.type == "signal"
    await house.launcher.end()
    assert not [each for each in offspring if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


async def test_verdicts_of_tests_are_kept_also_where_playwright_is_killed_when_the_time_is_over(
    house: House, tmp_path: Path
) -> None:
    spec = """
test("good", async () => {});
test.describe("group", () => { test("bad", async () => { expect(1).toBe(2); }); });
test.skip("unwanted", async () => {});
test("spins", async () => { console.log("spinning"); for (;;) {} });
test("never begins", async () => {});"""
    config = 'module.exports = { workers: 1, projects: [{ name: "a" }, { name: "b", testMatch: "none" }] };'
    folder = project(tmp_path / "shop", config, one=spec)
    request = house.request({"test_path": "tests", "cwd": str(folder)}, deadline=time.time())
    running = await house.start(request)
    await wait_until(lambda: "spinning" in request.output.read_text(), 30, "the test")
    await running.stop(0.2)
    outcome = await asyncio.wait_for(running.outcome, 20)
    found = {test.title.removeprefix("[a] › "): (test.status, (test.error or "")[:15]) for test in outcome.tests}  # noqa: RUF001
    assert found == {
        "good": ("passed", ""),
        "group › bad": ("failed", "Error: expect(r"),  # noqa: RUF001
        "unwanted": ("skipped", ""),
        "spins": ("failed", "was still runni"),
        "never begins": ("skipped", "did not run"),
    }
    assert {test.file for test in outcome.tests} == {"tests/one.spec.js"}
    assert outcome.error
    assert outcome.error.type == "timeout"
    assert "was still running" in (request.artifacts_dir / "attempt-1" / "junit.xml").read_text()


async def test_two_runs_in_one_project_do_not_see_each_other(house: House, tmp_path: Path) -> None:
    spec = """const fs = require("fs");
test("meets", async ({}, info) => {
  fs.writeFileSync(process.env.MINE, "");
  while (!fs.existsSync(process.env.OTHER)) await new Promise((r) => setTimeout(r, 20));
  const path = info.outputPath("mine.txt");
  fs.writeFileSync(path, process.env.MINE);
  await info.attach("mine", { path });
});"""
    folder = project(tmp_path / "shop", one=spec)
    before, (a, b) = names(folder), (str(tmp_path / name) for name in "ab")
    params = {"test_path": "tests/one.spec.js", "cwd": str(folder)}
    jobs = [
        house.run({**params, "env": {"MINE": a, "OTHER": b}}, "one"),
        house.run({**params, "env": {"MINE": b, "OTHER": a}}, "two"),
    ]
    for outcome in await asyncio.gather(*jobs):
        assert verdicts(outcome) == {"meets": "passed"}
    for job, mine in (("one", a), ("two", b)):
        kept = house.root / job / "artifacts" / "attempt-1"
        texts = [path.read_text() for path in kept.glob("test-results/*/mine.txt")]
        assert texts == [mine]
    assert names(folder) == before


async def test_artifacts_are_what_the_tests_leave(house: House, tmp_path: Path) -> None:
    spec = """const fs = require("fs");
test("leaves", async ({}, info) => { fs.writeFileSync(info.outputPath("shot.png"), "png"); expect(1).toBe(2); });"""
    folder = project(tmp_path / "shop", one=spec)
    request = house.request({"test_path": "tests", "cwd": str(folder)})
    await (await house.start(request)).outcome
    kept = names(request.artifacts_dir / "attempt-1")
    assert "test-results/tests-one-leaves/shot.png" in kept
    assert not [name for name in kept if ".last-run" in name]


async def test_the_build_and_the_device_of_the_config_are_replaced(house: House, tmp_path: Path) -> None:
    config = """module.exports = { projects: [
  { name: "mine", use: { buildPath: "old.apk", device: { provider: "emulator" }, kept: 1 } },
  { name: "other", use: { buildPath: "other.apk" } }] };"""
    spec = 'test("sees", async ({}, info) => { console.log("USE", JSON.stringify(info.project.use)); });'
    folder = project(tmp_path / "shop", config, one=spec)
    request = house.request({"test_path": "tests", "cwd": str(folder), "project": "mine"})
    running = await house.start(request, Target(device={"provider": "x", "udid": "u"}, build="bs://1"))
    assert (await running.outcome).error is None
    seen = re.search(r"USE (.*)", request.output.read_text())
    assert seen
    assert json.loads(seen[1]) == {"buildPath": "bs://1", "device": {"provider": "x", "udid": "u"}, "kept": 1}


async def test_a_target_adds_environment_path_modules_and_workers(house: House, tmp_path: Path) -> None:
    (tmp_path / "pre load").mkdir()
    preload = tmp_path / "pre load" / "it.cjs"
    preload.write_text("globalThis.preloaded = process.env.MARK;")
    spec = """test("sees", async ({}, info) => {
  const { PATH, CI, MARK } = process.env;
  console.log("SEEN", JSON.stringify([globalThis.preloaded, PATH.split(":")[0], info.config.workers, CI || "", MARK]));
});"""
    folder = project(tmp_path / "shop", one=spec)
    request = house.request({"test_path": "tests", "cwd": str(folder), "env": {"MARK": "job"}})
    target = Target(env={"MARK": "target"}, preload=(preload,), path=(tmp_path,), workers=3)
    assert (await (await house.start(request, target)).outcome).error is None
    seen = re.search(r"SEEN (.*)", request.output.read_text())
    assert seen
    assert json.loads(seen[1]) == ["target", str(tmp_path), 3, "", "target"]


async def test_what_is_relative_to_the_config_stays_so(house: House, tmp_path: Path) -> None:
    config = """module.exports = { testDir: "./tests", globalSetup: "./setup.js",
  snapshotPathTemplate: "shots/{arg}{ext}",
  reporter: [["./own-reporter.js", { word: "here" }], ["html", { open: "always" }]] };"""
    spec = 'test("compares", async () => { expect("kept").toMatchSnapshot("text.txt"); });'
    folder = project(tmp_path / "shop", config, one=spec)
    (folder / "setup.js").write_text('module.exports = () => console.log("SETUP", process.cwd());')
    (folder / "own-reporter.js").write_text(
        "module.exports = class { constructor(o) { this.o = o; } onBegin() { console.log('OWN', this.o.word); } };"
    )
    (folder / "shots").mkdir()
    (folder / "shots" / "text.txt").write_text("kept")
    request = house.request({"test_path": "tests", "cwd": str(folder)})
    outcome = await asyncio.wait_for((await house.start(request)).outcome, 60)
    assert outcome.error is None, request.output.read_text()
    text = request.output.read_text()
    assert f"SETUP {folder}" in text
    assert "OWN here" in text


@pytest.mark.parametrize("kind", ["module", "typescript", "typescript module"])
async def test_configs_of_every_kind_are_understood(house: House, tmp_path: Path, kind: str) -> None:
    folder = project(tmp_path / "shop")
    (folder / "playwright.config.js").unlink()
    if "module" in kind:
        (folder / "package.json").write_text('{"type": "module"}')
    ending = "ts" if "typescript" in kind else "js"
    (folder / "more.ts").write_text("export const name: string = 'it';")
    take = 'import { name } from "./more";\n' if kind == "typescript" else 'const name = "it";\n'
    (folder / f"playwright.config.{ending}").write_text(
        'import { defineConfig } from "@playwright/test";\n'
        f"{take}export default defineConfig({{ projects: [{{ name }}] }});\n"
    )
    text = 'import { test } from "@playwright/test";\ntest("is in", async ({}, info) => { info.project.name; });\n'
    (folder / "tests" / f"one.spec.{ending}").write_text(text)
    outcome = await house.run({"test_path": f"tests/one.spec.{ending}", "cwd": str(folder), "project": "it"})
    assert verdicts(outcome) == {"is in": "passed"}, (house.root / "job" / "output.log").read_text()


@pytest.mark.parametrize(
    ("path", "why"),
    [("tests/nope.spec.js", "is not there"), ("out.spec.js", "leads out of the project's folder")],
)
async def test_a_spec_that_cannot_be_run_is_rejected(house: House, tmp_path: Path, path: str, why: str) -> None:
    folder = project(tmp_path / "shop", one="")
    (tmp_path / "secret.spec.js").write_text("")
    (folder / "out.spec.js").symlink_to(tmp_path / "secret.spec.js")
    with pytest.raises(Rejected, match=why):
        await house.run({"test_path": path, "cwd": str(folder)})


async def test_a_folder_that_is_no_project_is_rejected(house: House, tmp_path: Path) -> None:
    (tmp_path / "a.spec.js").write_text("")
    with pytest.raises(Rejected, match=r"neither an appwright\.config"):
        await house.run({"test_path": "a.spec.js", "cwd": str(tmp_path)})
    (tmp_path / "playwright.config.js").write_text("")
    with pytest.raises(Rejected, match="npm ci"):
        await house.run({"test_path": "a.spec.js", "cwd": str(tmp_path)})


async def test_a_checkout_tells_its_commit(house: House, tmp_path: Path) -> None:
    folder = project(tmp_path / "shop", one='test("a", async () => {});')
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("a" * 40 + "\n")
    house.settings = AppwrightSettings(projects={"shop": folder}, default_project="shop")
    outcome = await house.run({"test_path": "tests"})
    assert (outcome.error, outcome.commit) == (None, "a" * 40)


async def test_a_snapshot_that_is_missing_fails_and_is_not_written_into_the_project(
    house: House, tmp_path: Path
) -> None:
    folder = project(tmp_path / "shop", one='test("compares", async () => { expect("a").toMatchSnapshot("a.txt"); });')
    before = names(folder)
    outcome = await house.run({"test_path": "tests", "cwd": str(folder)})
    assert verdicts(outcome) == {"compares": "failed"}
    assert names(folder) == before
