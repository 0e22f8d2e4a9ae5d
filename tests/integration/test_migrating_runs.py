"""docs/migrating.md: each command of a right-hand column does what it says, on the server that its table starts."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.integration.conftest import MakeServer
from tests.integration.test_documents_run import environment, run
from tests.support.sources import ROOT

TEXT = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")
SECTIONS: dict[str, str] = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
COMMAND = re.compile(r"hpcq \S|curl |\w+=\$\(hpcq ")


def commands(section: str) -> list[str]:
    """The commands in the last column of the section's table, in their order."""
    rows = [line.strip().strip("|").rsplit(" | ", 1) for line in section.splitlines() if line.startswith("| ")]
    spans = [span for row in rows for span in re.findall(r"`([^`]+)`", row[-1])]
    return [span for span in spans if COMMAND.match(span) and span not in ("hpcq run -f", "hpcq wait")]


def test_each_system_has_its_table_and_says_what_is_left_out() -> None:
    assert len(SECTIONS) == 5
    for title, body in SECTIONS.items():
        found = commands(body)
        assert found[0].startswith("hpcq serve"), f"{title}: the first command starts the server"
        assert len(found) > 4, title
        assert "Not carried over:" in body, title
        missing = [each for each in ("variables", "port", "files", "log lines") if f"\n| {each} | " not in body]
        assert not missing, f"{title}: what takes the place of its {missing}?"


@pytest.mark.parametrize("title", SECTIONS)
def test_the_commands_that_take_an_old_one_s_place_work(title: str, make_server: MakeServer, tmp_path: Path) -> None:
    serve, *others = commands(SECTIONS[title])
    here = tmp_path / "here"
    shutil.copytree(ROOT / "config" / "examples", here / "config" / "examples")
    words = shlex.split(serve)[2:]
    config = (here / words[words.index("--config") + 1]).read_text() if "--config" in words else ""
    server = make_server(config, arguments=[word for word in words if word == "--rehearse"])
    script = "\n".join(others).replace("http://127.0.0.1:8000", server.url)
    run(["bash", "-euo", "pipefail", "-c", script], here, environment(server.url))
