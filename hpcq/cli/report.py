"""How jobs ended, for programs: results.json and JUnit XML."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from hpcq.cli.calls import verdict
from hpcq.cli.output import SEQUENCE, title

if TYPE_CHECKING:
    from hpcq.client import Client, Job

# What XML 1.0 cannot hold, not even as a reference.
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
KEPT_BEFORE = ("id", "number", "queue", "slot", "state", "priority", "tags", "attempt", "created_at", "started_at")
KEPT = frozenset({*KEPT_BEFORE, "finished_at", "wait_s", "run_s", "result", "error", "usage", "artifacts"})
OWN = ("exit", "signal", "timeout", "oom", "rejected", "exception")  # the job's own fault


def default_name(now: datetime) -> str:
    """`hpcq_results_20261122_020600.json`."""
    return f"hpcq_results_{now:%Y%m%d_%H%M%S}.json"


def times(jobs: "Sequence[Job]") -> dict[str, float | None]:
    """Seconds that the jobs ran: in all, on average, the fastest, the slowest."""
    ran = [float(run_s) for job in jobs if (run_s := job.get("run_s")) is not None]
    return {
        "total_s": round(sum(ran), 3),
        "average_s": round(sum(ran) / len(ran), 3) if ran else None,
        "fastest_s": min(ran, default=None),
        "slowest_s": max(ran, default=None),
    }


def results(
    jobs: "Sequence[Job]", *, server: str, started: datetime, ended: datetime, code: int | None = None, why: str = ""
) -> dict[str, Any]:
    """The content of results.json. `code`: the exit code, where it is not only the jobs' own. `why`: no job was made,
    for this reason."""
    return {
        "server": server,
        "started_at": started.isoformat(timespec="milliseconds"),
        "finished_at": ended.isoformat(timespec="milliseconds"),
        "elapsed_s": round((ended - started).total_seconds(), 3),
        "total": len(jobs),
        "counts": dict(Counter(job["state"] for job in jobs)),
        **times(jobs),
        "exit_code": int(verdict(jobs) if code is None else code),
        **({"why": why} if why else {}),
        "jobs": [{"name": title(job)} | {key: value for key, value in job.items() if key in KEPT} for job in jobs],
    }


def write_results(path: Path, content: dict[str, Any]) -> None:
    """Write results.json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    _write(path, text.encode("utf-8", "backslashreplace"))


def _write(path: Path, content: bytes) -> None:
    """The whole, or no file: half a report is none, nor is that of an earlier run."""
    try:
        path.write_bytes(content)
    except OSError:
        with suppress(OSError):
            if path.is_file():
                path.unlink()
        raise


@dataclass(frozen=True, slots=True)
class Case:
    """One line of a JUnit report: a job, or one test of a test job."""

    name: str
    classname: str
    seconds: float
    verdict: Literal["passed", "failure", "error", "skipped", "flaky"] = "passed"
    kind: str = ""
    message: str = ""
    text: str = ""
    output: str = ""


def write_junit(path: Path, jobs: "Sequence[Job]", started: datetime, why: str = "") -> None:
    """Write JUnit XML: a suite for each queue; a case for each job, of test jobs for each test; `why` there is none."""
    suites: dict[str, list[Case]] = {"hpcq": [_of_none(why)]} if why else {}
    for job in jobs:
        suites.setdefault(job["queue"], []).extend(_cases(job))
    every = [case for cases in suites.values() for case in cases]
    root = Element("testsuites", {"name": "hpcq", **_figures(every)})
    for queue, cases in suites.items():
        stamp = started.isoformat(timespec="seconds")
        suite = SubElement(root, "testsuite", {"name": _xml(queue), "timestamp": stamp, **_figures(cases)})
        for case in cases:
            _write_case(suite, case)
    indent(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, tostring(root, encoding="utf-8", xml_declaration=True))


async def complete_tests(client: "Client", jobs: "Sequence[Job]") -> None:
    """Fetch the tests that did not fit into a result."""
    for job in jobs:
        if tests_of(job) and job["result"].get("left_out"):
            job["result"]["tests"] = await client.job_tests(job["id"])


def tests_of(job: "Job") -> list[dict[str, Any]]:
    """The tests of a test job, as far as its result shows them."""
    result = job.get("result")
    found = result.get("tests") if isinstance(result, dict) else None
    return found if isinstance(found, list) and all(map(_is_test, found)) else []


def _is_test(found: Any) -> bool:
    """A job's own result may hold anything under the same name."""
    if not isinstance(found, dict) or found.get("status") not in ("passed", "failed", "flaky", "skipped"):
        return False
    return isinstance(found.get("id"), str) and isinstance(found.get("duration_s"), int | float)


def _of_none(why: str) -> Case:
    return Case("hpcq run", "hpcq", 0.0, "error", "not run", why.partition("\n")[0], why)


def _cases(job: "Job") -> list[Case]:
    """One for each test; and one for the job where there is none, or where it failed by more than its tests."""
    tests = tests_of(job)
    cases = [_of_test(job, test) for test in tests]
    by_tests = (job.get("error") or {}).get("type") == "exit" and any(case.verdict == "failure" for case in cases)
    return cases if tests and (job["state"] == "succeeded" or by_tests) else [*cases, _of_job(job)]


def _of_test(job: "Job", test: dict[str, Any]) -> Case:
    verdicts: dict[str, Any] = {"failed": "failure", "flaky": "flaky", "skipped": "skipped"}
    error = str(test.get("error") or "")
    place = f"{test.get('file')}:{test.get('line')}"
    return Case(
        name=str(test.get("title") or test.get("id")),
        classname=str(test.get("file") or job["queue"]),
        seconds=float(test["duration_s"]),
        verdict=verdicts.get(test["status"], "passed"),
        kind=str(test["status"]),
        message=error.strip().partition("\n")[0],
        text=f"{error}\n{place}, {_which(job)}".strip(),
    )


def _which(job: "Job") -> str:
    return f"job #{job['number']} {job['id']}" if job.get("number") else f"job {job['id']}"


def _of_job(job: "Job") -> Case:
    error, result = job.get("error") or {}, job.get("result")
    kind = str(error.get("type") or job["state"])
    message = str(error.get("message") or job["state"])
    return Case(
        name=title(job),
        classname=job["queue"],
        seconds=float(job.get("run_s") or 0),
        verdict="passed" if job["state"] == "succeeded" else "failure" if error.get("type") in OWN else "error",
        kind=kind,
        message=message,
        text=f"{kind}: {message}\n{_which(job)}, attempt {job['attempt']}",
        output=str((result.get("tail") if isinstance(result, dict) else None) or ""),
    )


def _write_case(suite: Element, case: Case) -> None:
    """A `failure` is the job's or the test's own; an `error` came from outside."""
    attributes = {"name": _xml(case.name), "classname": _xml(case.classname), "time": f"{case.seconds:.3f}"}
    element = SubElement(suite, "testcase", attributes)
    if case.verdict == "flaky":
        properties = SubElement(element, "properties")
        SubElement(properties, "property", name="flaky", value="true")
    if case.verdict == "skipped":
        SubElement(element, "skipped")
    elif case.verdict != "passed":
        tag = "flakyFailure" if case.verdict == "flaky" else case.verdict
        bad = SubElement(element, tag, type=_xml(case.kind), message=_xml(case.message))
        bad.text = _xml(case.text)
    if case.output:
        SubElement(element, "system-out").text = _xml(case.output)


def _figures(cases: Sequence[Case]) -> dict[str, str]:
    count = Counter(case.verdict for case in cases)
    return {
        "tests": str(len(cases)),
        "failures": str(count["failure"]),
        "errors": str(count["error"]),
        "skipped": str(count["skipped"]),
        "time": f"{sum(case.seconds for case in cases):.3f}",
    }


def _xml(text: str) -> str:
    return NOT_XML.sub("", SEQUENCE.sub("", text))
