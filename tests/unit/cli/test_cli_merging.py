"""One report of many: what is made of the attempts of a job, and what is never taken from a job."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hpcq.cli.merging import NoReport, clear, combine, fits, merge


def blob(
    path: Path,
    *tests: str,
    listed: tuple[str, ...] = ("a", "b"),
    status: str = "failed",
    files: Mapping[str, str] | None = None,
) -> Path:
    """A report as Playwright's blob reporter writes it: one result for each of `tests`."""
    files = files or {}
    entries = [{"testId": test, "title": test} for test in listed]
    suites = [{"title": "f", "entries": [{"title": "group", "entries": entries}]}]
    events: list[dict[str, Any]] = [
        {"method": "onBlobReportMetadata", "params": {"version": 2}},
        {"method": "onConfigure", "params": {"config": {}}},
        {"method": "onProject", "params": {"project": {"suites": suites}}},
        {"method": "onBegin"},
    ]
    for test in tests:
        events.append({"method": "onTestBegin", "params": {"testId": test, "result": {"id": f"{path}", "retry": 0}}})
        result = {"id": f"{path}", "attachments": [{"name": "x", "path": name} for name in files]}
        events.append({"method": "onTestEnd", "params": {"test": {"testId": test}, "result": result}})
    events.append({"method": "onEnd", "params": {"result": {"status": status}}})
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr("report.jsonl", "\n".join(map(json.dumps, events)))
    return path


def combined(folder: Path, *attempts: Path) -> list[tuple[list[Any], set[str]]]:
    """Of each file that is written: its events, and its other contents."""
    combine([attempts], folder)
    found = []
    for path in sorted(folder.iterdir()):
        with zipfile.ZipFile(path) as archive:
            events = [json.loads(line) for line in archive.read("report.jsonl").splitlines()]
            found.append((events, set(archive.namelist()) - {"report.jsonl"}))
    return found


def test_a_later_attempt_is_a_further_try_of_its_tests(tmp_path: Path) -> None:
    first = blob(tmp_path / "1.zip", "a", "b", files={"resources/one.png": "1"})
    second = blob(tmp_path / "2.zip", "b", status="passed", files={"resources/two.png": "2"})
    ((events, files),) = combined(tmp_path / "out", first, second)
    begun = [(e["params"]["testId"], e["params"]["result"]["retry"]) for e in events if e["method"] == "onTestBegin"]
    assert begun == [("a", 0), ("b", 0), ("b", 1)]
    assert [event["params"]["result"]["status"] for event in events if event["method"] == "onEnd"] == ["passed"]
    assert sum(event["method"] == "onProject" for event in events) == 1
    assert files == {"resources/one.png", "resources/two.png"}


def test_an_attempt_with_other_tests_stays_a_report_of_its_own(tmp_path: Path) -> None:
    first, second = blob(tmp_path / "1.zip", "a"), blob(tmp_path / "2.zip", "c", listed=("c",))
    assert len(combined(tmp_path / "out", first, second)) == 2


def test_nothing_leads_out_of_a_report(tmp_path: Path) -> None:
    evil = {"../../evil.txt": "x", "resources/../../up": "x", "resources/good.png": "x", "/etc/passwd": "x"}
    ((events, files),) = combined(tmp_path / "out", blob(tmp_path / "1.zip", "a", files=evil))
    assert files == {"resources/good.png"}
    (end,) = [event for event in events if event["method"] == "onTestEnd"]
    assert [one.get("path") for one in end["params"]["result"]["attachments"] if "path" in one] == [
        "resources/good.png"
    ]


@pytest.mark.parametrize("content", [b"no zip", b""])
def test_what_is_no_report_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.zip").write_bytes(content)
    with pytest.raises(NoReport, match=r"odd\.zip is no report of Playwright"):
        combine([[tmp_path / "odd.zip"]], tmp_path / "out")


async def test_a_project_without_playwright_is_told_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(NoReport, match="npm ci"):
        await merge([[blob(tmp_path / "1.zip", "a")]], tmp_path, tmp_path / "html")
    assert not (tmp_path / "html").exists()


async def test_without_node_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NoReport, match="no node in the PATH"):
        await merge([], tmp_path, tmp_path / "html")


def test_only_a_report_is_ever_replaced(tmp_path: Path) -> None:
    html = tmp_path / "html"
    assert fits(html)
    (html / "data").mkdir(parents=True)
    (html / "index.html").write_text("<title>Playwright Test Report</title>")
    assert fits(html)
    clear(html)
    assert not list(html.iterdir())
    (html / "index.html").write_text("<title>My shop</title>")
    assert not fits(html)
    (html / "index.html").unlink()
    (html / "notes.txt").touch()
    assert not fits(html)
    assert not fits(html / "notes.txt")
