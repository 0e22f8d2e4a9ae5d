"""Documentation is tested: nothing undocumented, nothing out of date, nothing that leads nowhere."""

import configparser
import re
import tomllib
from pathlib import Path

import pytest

from hpcq.api.metrics import Metrics
from hpcq.config import Queue, Retention, Server, Settings
from hpcq.core.job import ErrorType, State
from hpcq.engine.environment import of_attempt
from hpcq.server import REQUEUE_S
from tests.support.generated import DOCUMENTS, PART, PARTS, current
from tests.support.sources import ROOT

LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
EVERY = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def anchors(path: Path) -> set[str]:
    """What headings can be linked to."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@EVERY
def test_what_is_made_from_the_code_is_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == current(path), "run: python -m tests.support.generated"


def test_every_generated_part_stands_in_a_document() -> None:
    found = [name for path in DOCUMENTS for _, name, _, _ in PART.findall(path.read_text(encoding="utf-8"))]
    assert sorted(found) == sorted(PARTS)


@EVERY
def test_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        there = path.parent / name if name else path
        assert there.exists(), f"{path.name} links to {target}"
        assert not anchor or anchor in anchors(there), f"{path.name} links to {target}"


@EVERY
def test_files_that_are_named_are_there(path: Path) -> None:
    ours = re.compile(r"`((?:hpcq|runners|config|tests|acceptance|docs|\.ci)/[\w./-]*)`")
    assert not [name for name in ours.findall(path.read_text(encoding="utf-8")) if not (ROOT / name).exists()]


@EVERY
def test_lines_fit_a_screen(path: Path) -> None:
    lines = PART.sub("", path.read_text(encoding="utf-8")).splitlines()
    assert not [line for line in lines if len(line) > 125 and not line.startswith("|")]


def test_readme_and_docs_lead_to_every_document() -> None:
    readme = text("README.md")
    assert not [path.name for path in (ROOT / "docs").glob("*.md") if f"docs/{path.name}" not in readme]


def test_the_version_is_in_the_changelog_once_released() -> None:
    assert "## [Unreleased]" in text("CHANGELOG.md")


def test_continuous_integration_runs_the_readmes_command() -> None:
    command = re.search(r"## Testing\n\n```sh\n(.+)\n```", text("README.md"))
    assert command
    assert command[1] in text(".ci/run")
    assert ".ci/run" in text(".github/workflows/ci.yml")


# What a reader looks for.


def test_every_variable_that_a_job_sees_is_documented() -> None:
    folder = Path("/tmp")
    env = of_attempt(
        {}, job_id="", attempt=1, queue="", slot="", folder=folder, artifacts=folder, kept=folder,
        items=[("gpu", ("0",))],
    )  # fmt: skip
    assert not [name for name in env if f"`{name}`" not in text("docs/jobs.md")]


def test_every_kind_of_failure_is_documented() -> None:
    assert not [kind for kind in ErrorType if f"| `{kind}` |" not in text("docs/jobs.md")]
    assert not [kind for kind in ErrorType if f"`{kind}`" not in text("README.md")]


def test_every_state_is_in_the_readme() -> None:
    assert not [state for state in State if f" {state}" not in text("README.md")]


def test_every_metric_is_documented() -> None:
    names = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in Metrics().registry.collect()
    }
    assert not [name for name in names if f"`{name}`" not in text("docs/operations.md")]


def test_every_setting_of_retention_is_in_the_operators_guide() -> None:
    known = set(Retention.model_fields)
    assert not [name for name in known if f"`{name}`" not in text("docs/operations.md")]


def test_every_setting_stands_in_the_shipped_file_with_its_explanation() -> None:
    shipped = text("config/hpcq.toml")
    fields = [field for part in (Server, Retention, Queue) for field in part.model_fields.items()]
    assert not [name for name, field in fields if name != "retries" and f"# {field.description}\n" not in shipped]
    assert not [table for table in Settings.model_fields if f"\n[{table}" not in shipped]


def test_examples_of_configuration_are_good_toml() -> None:
    for path in DOCUMENTS:
        for block in re.findall(r"```toml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            tomllib.loads(block)


def test_the_systemd_unit_stops_the_server_as_the_server_wants_to_be_stopped() -> None:
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(ROOT / "config" / "hpcq.service")
    service = unit["Service"]
    assert service["KillMode"] == "mixed", "or systemd sends SIGTERM to the jobs too"
    assert float(service["TimeoutStopSec"]) > Settings().server.drain_grace_s + REQUEUE_S
    assert service["OOMPolicy"] == "continue"
