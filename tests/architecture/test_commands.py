"""Whoever copies a command from a document or a workflow gets one that the program knows."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.support.commands import commands_in, unknown
from tests.support.generated import DOCUMENTS
from tests.support.sources import ROOT

WORKFLOW = ROOT / "config" / "github-actions" / "appwright.yml"
BLOCK = re.compile(r"```(?:sh|text)\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"`(hpcq [a-z][^`\n]*)`")
UNFINISHED = "requires an argument"  # in the text an option may be named without its value
PLACEHOLDER = re.compile(r"\[[A-Z-][^\]]*\]|…")  # [OPTIONS], [COMMAND]...


def steps() -> list[dict[str, Any]]:
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    return list(workflow["jobs"]["tests"]["steps"])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_in_a_document_exists_with_its_options(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    scripts = [*BLOCK.findall(text), *INLINE.findall(text)]
    found = [words for script in scripts for words in commands_in(script)]
    wrong = [(words, said) for words in found if not PLACEHOLDER.search(" ".join(words)) and (said := unknown(words))]
    assert not [one for one in wrong if UNFINISHED not in one[1]]


def test_every_command_in_the_workflow_exists_with_its_options() -> None:
    found = [words for step in steps() for words in commands_in(step.get("run", ""))]
    assert {words[1] for words in found} >= {"run", "doctor", "cancel"}
    assert not [(words, said) for words in found if (said := unknown(words))]


def test_the_workflow_lets_no_fork_onto_the_machine_and_no_event_into_a_shell() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert "head.repo.full_name == github.repository" in workflow["jobs"]["tests"]["if"]
    assert workflow["permissions"] == {"contents": "read"}
    assert not [step["run"] for step in steps() if "${{" in step.get("run", "")]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("hpcq run --test a --no-such-option", "No such option"),
        ("hpcq nonsense", "no command nonsense"),
        ("hpcq queues scale local 3", None),
        ("hpcq run -- make --jobs 3", None),
    ],
)
def test_a_wrong_command_would_be_found(line: str, says: str | None) -> None:
    (words,) = commands_in(f"echo hi\n{line} | tail  # a remark")
    said = unknown(words)
    assert (says is None and said is None) or (says is not None and said is not None and says in said)
