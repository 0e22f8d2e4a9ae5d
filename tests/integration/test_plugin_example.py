"""The worked example of docs/plugins.md is a real distribution: it installs, passes the exam, and runs in a server."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import ServerProcess
from tests.support.sources import ROOT

FILE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
LIMIT_S = 180.0


def run(argv: list[str], folder: Path, target: Path) -> str:
    env = {**os.environ, "PYTHONPATH": str(target), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *argv], cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the guide, as its reader would write them."""
    folder = tmp_path_factory.mktemp("hpcq-sitecheck")
    for name, text in FILE.findall((ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it is installed; nothing is downloaded."""
    target = tmp_path_factory.mktemp("installed")
    run(
        ["pip", "install", "--no-deps", "--no-build-isolation", "--quiet", "--target", str(target), "."], source, target
    )
    return target


@pytest.fixture(scope="module")
def server(source: Path, installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    config = (source / "hpcq.toml").read_text(encoding="utf-8")
    server = ServerProcess(tmp_path_factory.mktemp("server"), config, env={"PYTHONPATH": str(installed)})
    yield server.start()
    server.close()


def test_it_passes_the_exam(source: Path, installed: Path) -> None:
    said = run(["pytest", "-q", "-p", "no:cacheprovider", "tests"], source, installed)
    assert " passed" in said
    assert "skipped" not in said


def test_the_server_knows_it_by_its_entry_point(server: ServerProcess) -> None:
    runners = {runner["name"]: runner for runner in server.get("/v1/runners")["runners"]}
    assert runners["sitecheck"]["ready"], runners["sitecheck"]


def test_its_jobs_run_print_and_leave_artifacts(server: ServerProcess, source: Path) -> None:
    params = {"site": str(source / "tests" / "sites" / "cow"), "expect": "moo"}
    job = server.submit("sites", params, wait_s=30)
    assert (job["state"], job["result"]) == ("succeeded", {"page": "index.html", "looked": 1})
    assert "found 'moo'" in server.output(job["id"])
    page = server.request("GET", f"/v1/jobs/{job['id']}/artifacts/page.html")
    assert page.body == b"<h1>moo</h1>\n"


def test_its_failures_say_what_the_check_said(server: ServerProcess, source: Path) -> None:
    params = {"site": str(source / "tests" / "sites" / "dog"), "expect": "moo"}
    job = server.submit("sites", params, wait_s=30)
    assert (job["state"], job["error"]["type"], job["error"]["exit_code"]) == ("failed", "exit", 1)
    assert "'moo' is not on http://127.0.0.1:" in job["error"]["message"]


def test_jobs_of_one_site_share_a_session(server: ServerProcess, source: Path) -> None:
    params = {"site": str(source / "tests" / "sites" / "cow")}
    jobs = [server.submit("sites", params, wait_s=30) for _ in range(4)]
    assert {job["state"] for job in jobs} == {"succeeded"}
    ports = {re.search(r":(\d+)/", server.output(job["id"]))[1] for job in jobs}  # type: ignore[index]
    assert len(ports) <= 2, "at most one web server a slot"


def test_bad_params_are_refused_by_its_model(server: ServerProcess) -> None:
    answer = server.request("POST", "/v1/jobs", {"queue": "sites", "params": {"site": "", "times": 0, "colour": 1}})
    assert answer.status == 422
    assert {error["pointer"] for error in answer.json["errors"]} == {
        "/params/site",
        "/params/times",
        "/params/colour",
    }


def test_cancelling_ends_a_check_that_goes_on(server: ServerProcess, source: Path) -> None:
    job = server.submit("sites", {"site": str(source / "tests" / "sites" / "cow"), "times": 3600})
    server.until(job["id"], "running")
    assert server.request("POST", f"/v1/jobs/{job['id']}/cancel", {}).status == 200
    assert server.until(job["id"], "cancelled")["attempt"] == 1
