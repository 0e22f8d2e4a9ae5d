"""`hpcq run --test`: what a CI job calls, with the real Playwright on a real server."""

import base64
import io
import json
import re
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support.cli import Cli, Done, until_line
from tests.support.playwright import playwright, project, write_spec
from tests.support.server import ServerProcess
from tests.support.wait import wait_until_blocking

LIMIT_S = 300.0
PASSES = 'test("passes", async () => {});'
FAILS = 'test("is good", async () => {});\ntest("fails", async () => { expect(1).toBe(2); });'
# Passes once somebody has left a note, as it does itself: in the job's next attempt.
LATER = """const fs = require("fs");
test("passes later", async ({}, info) => {
  await info.attach("log", { body: "what it saw" });
  const first = !fs.existsSync(process.env.NOTE);
  fs.writeFileSync(process.env.NOTE, "");
  expect(first).toBe(false);
});"""
LASTS = 'test("lasts", async () => { test.setTimeout(0); await new Promise(() => {}); });'
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG = """
[queues.local]
node_modules = "{modules}"
slots = 2
[queues.local.retries]
max = 1
backoff_s = 0
[queues.one]
runner = "shell"
slots = 1
node_modules = "{modules}"
[queues.broken]
runner = "shell"
slots = 1
node = "/nowhere/node"
node_modules = "{modules}"
[queues.emulator]
project_dir = "{shop}"
adb = "/nowhere/adb"
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the queue `emulator`."""
    return project(tmp_path_factory.mktemp("projects") / "queue", onboarding=PASSES)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, shop: Path) -> Iterator[ServerProcess]:
    config = CONFIG.format(modules=playwright(), shop=shop)
    server = ServerProcess(tmp_path_factory.mktemp("server"), config)
    yield server.start()
    server.close()


def ci(server: ServerProcess, folder: Path, **specs: str) -> Cli:
    """A checkout as continuous integration has it, and a command line in it."""
    return Cli(server.url, project(folder / "checkout", **specs), CI="1")


def at_commit(cli: Cli, commit: str) -> None:
    """From now on git says so there; what the machine has of git does not matter."""
    git = cli.folder.parent / "bin" / "git"
    git.parent.mkdir()
    git.write_text(f'#!/bin/sh\n[ "$3" = status ] || echo {commit}\n')
    git.chmod(0o755)
    cli.env["PATH"] = f"{git.parent}:{cli.env['PATH']}"


def run(cli: Cli, *words: str) -> Done:
    return cli("run", *words, timeout_s=LIMIT_S)


def report_in(folder: Path) -> Any:
    """What Playwright's HTML report says, in numbers."""
    html = (folder / "index.html").read_text(encoding="utf-8")
    content = re.search(r"data:application/zip;base64,([A-Za-z0-9+/=]+)", html)
    assert content, html[:500]
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(content[1]))) as archive:
        return json.loads(archive.read("report.json"))


def test_a_folder_is_a_job_a_file_and_all_that_they_found_is_here_afterwards(
    server: ServerProcess, tmp_path: Path
) -> None:
    cli = ci(server, tmp_path, good=PASSES, bad=FAILS, later=LATER)
    (cli.folder / "app.apk").write_bytes(b"build")
    kept = ("--artifacts", "kept", "--report", "html", "--junit", "r.xml", "--out", "r.json")
    note = f"NOTE={tmp_path / 'note'}"
    done = run(cli, "--test", "tests", "--project-dir", ".", "--app", "app.apk", "--tag", "pr=12", "--env", note, *kept)
    assert done.code == 1, done.err

    jobs = json.loads((cli.folder / "r.json").read_text())["jobs"]
    assert {(job["name"], job["state"], job["attempt"]) for job in jobs} == {
        ("tests/good.spec.js", "succeeded", 1),
        ("tests/bad.spec.js", "failed", 2),
        ("tests/later.spec.js", "succeeded", 2),
    }
    assert {job["tags"]["pr"] for job in jobs} == {"12"}
    assert len({server.job(job["id"])["batch_key"] for job in jobs}) == 1
    assert "a job for each file" in done.out
    assert "\n  3 jobs\n" in done.out
    for word in ("SENT", "RUNNING", "SUCCESS", "FAILED"):
        assert word in done.out
    assert re.search(r"FAILED +#\d+ tests/bad.spec.js:3 fails: Error: expect", done.out)
    assert re.search(r"FLAKY +#\d+ tests/later.spec.js:3 passes later: ", done.out)
    assert "tests: 2 passed, 1 failed, 1 flaky" in done.out

    root = ElementTree.parse(cli.folder / "r.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == ("4", "1")
    assert root.find(".//testcase[@name='passes later']/flakyFailure") is not None
    assert root.find(".//testcase[@name='fails']/failure") is not None

    names = {path.relative_to(cli.folder / "kept").as_posix() for path in (cli.folder / "kept").rglob("junit.xml")}
    numbers = {job["name"]: job["number"] for job in jobs}
    assert names == {
        f"{numbers[f'tests/{name}.spec.js']}-tests_{name}.spec.js/attempt-{attempt}/junit.xml"
        for name, attempt in (("good", 1), ("bad", 1), ("bad", 2), ("later", 1), ("later", 2))
    }

    report = report_in(cli.folder / "html")
    assert {name: report["stats"][name] for name in ("total", "expected", "unexpected", "flaky")} == {
        "total": 4, "expected": 2, "unexpected": 1, "flaky": 1,
    }  # fmt: skip
    assert {file["fileName"].rpartition("/")[2] for file in report["files"]} == {
        "good.spec.js", "bad.spec.js", "later.spec.js",
    }  # fmt: skip


def test_what_the_server_has_is_not_sent_again_and_success_is_0(server: ServerProcess, tmp_path: Path) -> None:
    cli = ci(server, tmp_path, good=PASSES)
    at_commit(cli, COMMIT)
    (cli.folder / "app.apk").write_bytes(b"another build")
    build = ("--app", "app.apk", "--app-version-id", "1.2.3", "--org-id", "qa", "--queue", "one")
    words = ("--test", "tests/good.spec.js", "--project-dir", ".", *build, "--artifacts", "kept", "--report", "html")
    (cli.folder / "node_modules").unlink()  # so that nothing here can merge reports
    first = run(cli, *words)
    assert first.code == 0, first.err
    assert re.search(r"^app.apk: uploaded, .*\ncheckout: uploaded, ", first.err, re.MULTILINE)
    assert "✓" in first.out, "one job shows what it prints"
    assert "npm ci" in first.err
    assert [path.suffix for path in (cli.folder / "html" / "blobs").iterdir()] == [".zip"]

    second = run(cli, *words, "--json")
    assert second.code == 0, second.err
    assert re.search(r"^app.apk: the server has it\ncheckout: the server has it$", second.err, re.MULTILINE)
    (job,) = second.json["jobs"]
    params = server.job(job["id"])["params"]
    assert params["app_version_id"] == "1.2.3"
    (named,) = [app for app in server.get("/v1/apps")["apps"] if app["app_version_id"] == "1.2.3"]
    assert (named["org_id"], {"blob": named["blob"]}) == ("qa", params["app"])
    (test,) = server.get("/v1/tests?org_id=qa")["tests"]
    assert (test["runs"], test["last_commit"]) == (2, COMMIT), "the history knows what an upload was made of"


def test_flaky_tests_can_be_made_to_fail_the_run(server: ServerProcess, tmp_path: Path) -> None:
    cli = ci(server, tmp_path, later=LATER)
    words = ("--test", "tests/later.spec.js", "--fail-on-flaky", "--json", "--env", f"NOTE={tmp_path / 'note'}")
    done = run(cli, *words)
    assert done.code == 1, done.err
    assert "exit code 1, as --fail-on-flaky wants it: 1 test passed only in a further try" in done.err
    assert done.json["counts"] == {"succeeded": 1}
    assert done.json["exit_code"] == 1


def test_broken_devices_are_told_from_failed_tests_also_when_the_rest_is_cancelled(
    server: ServerProcess, tmp_path: Path
) -> None:
    cli = ci(server, tmp_path, a=PASSES, b=PASSES)
    words = ("--test", "tests/a.spec.js", "--test", "tests/b.spec.js", "--queue", "broken", "--max-failures", "1")
    done = run(cli, *words, "--junit", "r.xml")
    assert done.code == 4, done.out
    assert "infra" in done.out
    assert "1 failure: cancelling the rest" in done.out
    root = ElementTree.parse(cli.folder / "r.xml").getroot()
    assert root.get("failures") == "0", "no test has failed"
    assert root.get("errors") != "0"


def test_a_run_that_is_cancelled_cancels_what_is_left_of_it(server: ServerProcess, tmp_path: Path) -> None:
    cli = ci(server, tmp_path, a=LASTS, b=LASTS)
    words = ("run", "--test", "tests", "--project-dir", ".", "--queue", "one", "--tag", "ci=running")
    with cli.start(*words) as process:
        wait_until_blocking(lambda: "running" in states(server, "running"), 60.0, "a job to run")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert states(server, "running") == ["cancelled", "cancelled"]


def test_a_run_that_is_cancelled_while_it_submits_leaves_nothing_either(server: ServerProcess, tmp_path: Path) -> None:
    looked = tmp_path / "looked"
    cli = ci(server, tmp_path, a=LASTS, b=LASTS)
    (cli.folder / "playwright.config.js").write_text(
        f'require("fs").writeFileSync({json.dumps(str(looked))}, ""); module.exports = {{}};'
    )
    with cli.start("run", "--test", "tests", "--project-dir", ".", "--queue", "one", "--tag", "ci=sent") as process:
        wait_until_blocking(looked.exists, 60.0, "the server to look for the tests in the folder")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert states(server, "sent") == ["cancelled", "cancelled"]


def states(server: ServerProcess, tag: str) -> list[str]:
    return [job["state"] for job in server.get(f"/v1/jobs?tag=ci:{tag}")["jobs"]]


def test_the_earlier_tool_s_options_submit_one_job(server: ServerProcess, tmp_path: Path) -> None:
    words = ("--test", "tests/onboarding.spec.js", "--app-version-id", "xyz123", "--org-id", "qualgent")
    done = Cli(server.url, tmp_path)("submit", *words, "--queue", "emulator", "--priority", "high")
    assert done.code == 0, done.err
    job = server.job(done.out.strip())
    assert (job["org_id"], job["queue"], job["priority"]) == ("qualgent", "emulator", 10)
    assert job["params"] == {"test_path": "tests/onboarding.spec.js", "app_version_id": "xyz123"}
    server.request("POST", f"/v1/jobs/{job['id']}/cancel", {})


def test_a_run_is_refused_before_it_begins_where_its_report_would_replace_something(
    server: ServerProcess, tmp_path: Path
) -> None:
    cli = ci(server, tmp_path, one=PASSES)
    done = run(cli, "--test", "tests", "--project-dir", ".", "--report", ".")
    assert done.code == 2
    assert "name a folder of its own" in done.err


def test_tests_that_are_not_there_are_refused_with_their_place(server: ServerProcess, tmp_path: Path) -> None:
    cli = ci(server, tmp_path, one=PASSES)
    write_spec(cli.folder, "empty", "")
    assert "no such file or folder" in run(cli, "--test", "tests/two.spec.js").err


@pytest.mark.parametrize(
    ("test", "words", "says"),
    [
        ("tests", ("--grep", "zzz"), "no tests found in tests"),
        ("tests", ("--project", "zzz"), "zzz"),
        ("tests", (), "no such config"),
        ("tests/one.spec.js", (), "no such config"),
    ],
)
def test_a_project_that_cannot_be_tested_is_a_failure_with_a_report(
    server: ServerProcess, tmp_path: Path, test: str, words: tuple[str, ...], says: str
) -> None:
    cli = ci(server, tmp_path, one=PASSES)
    if not words:
        (cli.folder / "playwright.config.js").write_text('throw new Error("no such config");')
    done = run(cli, "--test", test, *words, "--queue", "one", "--junit", "r.xml", "--out", "r.json")
    assert done.code == 1, done.err
    (case,) = ElementTree.parse(cli.folder / "r.xml").getroot().iter("testcase")
    assert [child.tag for child in case if child.tag != "system-out"] == ["error" if test == "tests" else "failure"]
    assert says in "".join(case.itertext()), done.err
    assert json.loads((cli.folder / "r.json").read_text())["exit_code"] == 1


@pytest.mark.parametrize(
    ("queue", "says"), [("emulator", "queue emulator is not ready: adb was not found"), ("broken", "/nowhere/node")]
)
def test_a_queue_that_lacks_its_tools_is_not_the_tests_fault(
    server: ServerProcess, tmp_path: Path, queue: str, says: str
) -> None:
    cli = ci(server, tmp_path, one=PASSES)
    done = run(cli, "--test", "tests", "--project-dir", ".", "--queue", queue, "--junit", "r.xml")
    assert done.code == 4, done.err
    assert says in done.err
    assert "hpcq doctor" in done.err
    assert ElementTree.parse(cli.folder / "r.xml").getroot().get("errors") == "1"


def test_a_folder_is_refused_as_the_queue_s_fault_by_the_server_itself_too(
    server: ServerProcess, tmp_path: Path
) -> None:
    cli = ci(server, tmp_path, one=PASSES)
    done = cli("submit", "--test", "tests", "--project-dir", ".", "--queue", "emulator")
    assert done.code == 4, done.err
    assert "adb was not found" in done.err
    done = cli("submit", "--test", "tests", "--project-dir", ".", "--queue", "one", "--grep", "zzz")
    assert done.code == 1, done.err
    assert "no tests found in tests" in done.err


def test_one_file_waits_for_a_queue_that_is_not_ready_and_says_why(server: ServerProcess, tmp_path: Path) -> None:
    cli = ci(server, tmp_path, one=PASSES)
    words = ("--test", "tests/one.spec.js", "--project-dir", ".", "--queue", "emulator")
    with cli.start("run", *words) as process:
        assert process.stderr is not None
        said = until_line(process.stderr, "hpcq: queue emulator: not ready: adb was not found")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert "its jobs wait until that is mended (`hpcq doctor`)" in said


def test_the_doctor_names_what_a_queue_in_use_lacks_and_what_mends_it(server: ServerProcess, tmp_path: Path) -> None:
    done = Cli(server.url, tmp_path)("doctor", "--json")
    assert done.code == 1
    found = {one["part"]: (one["state"], one["note"]) for one in done.json["findings"]}
    assert found["queue emulator"][0] == "missing"
    assert "apt install adb" in found["queue emulator"][1]
    assert found["queue broken"][0] == "ok", "commands run there"
    assert "tests cannot: the config's node = '/nowhere/node' is no program" in found["queue broken"][1]
    assert found["queue local"] == ("ok", "")
    assert found["queue device_farm"][0] == "unused"
