"""A JUnit file that tells flaky tests from passed ones, which Playwright's own does not."""

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree as ET

from hpcq.plugin import TestCase

UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what no XML can hold


def write(path: Path, tests: Sequence[TestCase]) -> None:
    """One suite a file, one case a test; the tests come in the order of their files."""
    root = ET.Element("testsuites", _figures(tests))
    for file, cases in groupby(tests, key=lambda test: test.file):
        inside = list(cases)
        suite = ET.SubElement(root, "testsuite", {"name": _text(file), **_figures(inside)})
        for case in inside:
            _case(suite, case)
    ET.indent(root)
    path.write_bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")


def _figures(tests: Iterable[TestCase]) -> dict[str, str]:
    found = list(tests)
    return {
        "tests": str(len(found)),
        "failures": str(sum(test.status == "failed" for test in found)),
        "skipped": str(sum(test.status == "skipped" for test in found)),
        "errors": "0",
        "time": f"{sum(test.duration_s for test in found):.3f}",
    }


def _case(suite: ET.Element, test: TestCase) -> None:
    about = {"name": _text(test.title), "classname": _text(test.file), "file": _text(test.file), "line": str(test.line)}
    case = ET.SubElement(suite, "testcase", {**about, "time": f"{test.duration_s:.3f}"})
    error = _text(test.error or "")
    if test.status == "flaky":
        ET.SubElement(ET.SubElement(case, "properties"), "property", {"name": "flaky", "value": "true"})
    if test.status == "skipped":
        ET.SubElement(case, "skipped", {"message": error} if error else {})
    elif test.status in ("failed", "flaky"):
        name = "failure" if test.status == "failed" else "flakyFailure"
        ET.SubElement(case, name, {"message": error.partition("\n")[0]}).text = error


def _text(text: str) -> str:
    return UNPRINTABLE.sub("\ufffd", text)
