"""How jobs ended, for programs: results.json and JUnit XML."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from hpcq.cli.calls import verdict
from hpcq.cli.output import SEQUENCE, title

if TYPE_CHECKING:
    from hpcq.client import Job

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


def results(jobs: "Sequence[Job]", *, server: str, started: datetime, ended: datetime) -> dict[str, Any]:
    """The content of results.json."""
    return {
        "server": server,
        "started_at": started.isoformat(timespec="milliseconds"),
        "finished_at": ended.isoformat(timespec="milliseconds"),
        "elapsed_s": round((ended - started).total_seconds(), 3),
        "total": len(jobs),
        "counts": dict(Counter(job["state"] for job in jobs)),
        **times(jobs),
        "exit_code": int(verdict(jobs)),
        "jobs": [{"name": title(job)} | {key: value for key, value in job.items() if key in KEPT} for job in jobs],
    }


def write_results(path: Path, content: dict[str, Any]) -> None:
    """Write results.json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_junit(path: Path, jobs: "Sequence[Job]", started: datetime) -> None:
    """Write JUnit XML: a test case for each job, a suite for each queue."""
    root = Element("testsuites", {"name": "hpcq", **_figures(jobs)})
    for queue in dict.fromkeys(job["queue"] for job in jobs):
        of_queue = [job for job in jobs if job["queue"] == queue]
        stamp = started.isoformat(timespec="seconds")
        suite = SubElement(root, "testsuite", {"name": _xml(queue), "timestamp": stamp, **_figures(of_queue)})
        for job in of_queue:
            _case(suite, job)
    indent(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _case(suite: Element, job: "Job") -> None:
    case = SubElement(suite, "testcase", name=_xml(title(job)), classname=_xml(job["queue"]), time=_seconds([job]))
    error = job.get("error") or {}
    kind = str(error.get("type") or job["state"])
    if job["state"] != "succeeded":
        message = str(error.get("message") or job["state"])
        bad = SubElement(case, _blame(job), type=_xml(kind), message=_xml(message))
        bad.text = _xml(f"{kind}: {message}\njob #{job['number']} {job['id']}, attempt {job['attempt']}")
    result = job.get("result")
    tail = result.get("tail") if isinstance(result, dict) else None
    if tail:
        SubElement(case, "system-out").text = _xml(str(tail))


def _blame(job: "Job") -> str:
    """A `failure` is the job's own; an `error` came from outside."""
    return "failure" if (job.get("error") or {}).get("type") in OWN else "error"


def _figures(jobs: "Sequence[Job]") -> dict[str, str]:
    bad = [_blame(job) for job in jobs if job["state"] != "succeeded"]
    return {
        "tests": str(len(jobs)),
        "failures": str(bad.count("failure")),
        "errors": str(bad.count("error")),
        "skipped": "0",
        "time": _seconds(jobs),
    }


def _seconds(jobs: "Sequence[Job]") -> str:
    return f"{sum(float(job.get('run_s') or 0) for job in jobs):.3f}"


def _xml(text: str) -> str:
    return NOT_XML.sub("", SEQUENCE.sub("", text))
