"""`hpcq config check`: what a server would refuse is told before one is started."""

from pathlib import Path

import pytest

from tests.support.cli import Cli

TWO = """
[queues.phones]
runner = "adb"
serials = ["R58M"]

[queues.tablets]
runner = "adb"
serials = ["R58M"]
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[queues.mine]\nrunner = "matrix"\nmax_sice = 5\n', "queues.mine.max_sice"),
        ('[queues.mine]\nrunner = "matrix"\nmax_size = "large"\n', "queues.mine.max_size"),
        (TWO, "R58M is also named by queues.phones.serials"),
        ('[server]\nhost = "0.0.0.0"\n', "server.host is 0.0.0.0"),
    ],
    ids=["unknown key", "wrong value", "a device in two queues", "an address"],
)
def test_what_the_server_would_refuse_is_told_and_is_exit_code_1(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "hpcq.toml").write_text(text)
    hpcq = Cli("", tmp_path)
    told = hpcq("config", "check", "hpcq.toml")
    assert (told.code, said in told.err) == (1, True), told.err
    as_json = hpcq("config", "check", "--json")
    assert (as_json.code, as_json.json["ok"], said in " ".join(as_json.json["errors"])) == (1, False, True)


def test_a_file_that_a_server_takes_is_good(tmp_path: Path) -> None:
    (tmp_path / "hpcq.toml").write_text('[queues.mine]\nrunner = "matrix"\nmax_size = 5\n')
    told = Cli("", tmp_path)("config", "check", "hpcq.toml")
    assert told.code == 0, told.err
    assert told.out.startswith("hpcq.toml: good; queues: ")
