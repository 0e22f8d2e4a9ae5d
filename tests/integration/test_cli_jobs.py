"""The commands that deal with jobs, against a real server."""

import json
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.server import ServerProcess

HOSTILE = "\x1b]0;owned\x07\x1b[31mred\x1b[0m\r\n\x9b2J\x08end\n"


@pytest.fixture
def cli(server: ServerProcess, tmp_path: Path) -> Cli:
    folder = tmp_path / "here"
    folder.mkdir()
    return Cli(server.url, folder)


def test_submit_prints_the_id_and_nothing_else(cli: Cli, server: ServerProcess) -> None:
    done = cli("submit", "--", "echo", "hi")
    assert (done.code, done.err) == (0, "")
    assert server.job(done.out.strip(), 20)["state"] == "succeeded"


def test_submit_takes_all_it_is_told(cli: Cli, server: ServerProcess) -> None:
    first = cli("submit", "--queue", "noop").out.strip()
    words = ["--name", "n", "--priority", "high", "--tag", "a=1", "--timeout", "1m", "--retries", "2", "--delay", "1h"]
    words += ["--depends-on", f"{first}:any", "--env", "X=1", "--artifact", "*.txt", "--resource", "cpus=1", "--json"]
    job = cli("submit", *words, "--", "true").json
    assert [job[name] for name in ("name", "priority", "tags", "timeout_s")] == ["n", 10, {"a": "1"}, 60.0]
    assert (job["retries"]["max"], job["resources"], job["state"]) == (2, {"cpus": 1.0}, "delayed")
    assert job["params"]["cwd"] == str(cli.folder)
    assert job["params"]["env"] == {"X": "1"}


def test_submit_and_wait_exits_as_the_job_did(cli: Cli) -> None:
    assert cli("submit", "--wait", "--", "true").code == 0
    failed = cli("submit", "--wait", "--", "sh -c 'exit 7'")
    assert failed.code == 1
    assert "exit code 7" in failed.err


def test_what_the_server_refuses_is_exit_code_2_with_every_field(cli: Cli) -> None:
    done = cli("submit", "--queue", "compute", "--params", '{"operation": "matmul", "size": -1, "x": 1}')
    assert (done.code, done.out) == (2, "")
    assert "/params/size" in done.err
    assert "/params/x" in done.err


def test_stdin_reaches_the_job(cli: Cli) -> None:
    assert cli("run", "--stdin", "-", "--", "cat", stdin="from afar\n").out == "from afar\n"


def test_jobs_come_from_stdin(cli: Cli) -> None:
    lines = '{"queue": "noop", "params": {}}\n{"queue": "noop", "params": {}}\n'
    assert len(cli("submit", "-f", "-", stdin=lines).out.split()) == 2


def test_an_id_a_prefix_and_a_number_name_the_same_job(cli: Cli) -> None:
    job_id = cli("submit", "--queue", "noop").out.strip()
    names = [job_id, job_id.upper(), job_id[:20], "1", "#1"]
    shown = cli("show", "--json", *names).json
    assert [job["id"] for job in shown] == [job_id] * 5


def test_a_prefix_of_two_jobs_is_refused_and_names_them(cli: Cli) -> None:
    ids = cli("submit", "-f", "-", stdin='{"queue": "noop", "params": {}}\n' * 2).out.split()
    done = cli("show", ids[0][:8])
    assert done.code == 2
    assert all(one in done.err for one in ids)


def test_a_sweep_is_one_job_a_row_found_by_its_tag(cli: Cli) -> None:
    (cli.folder / "grid.csv").write_text("a,b\n1,x\n2,y\n3,z\n")
    (cli.folder / "sim.sh").write_text('echo "$1-$2" > "$HPCQ_ARTIFACTS/out.txt"; echo "did $1"\n')
    cli("submit", "--each", "grid.csv", "--tag", "sweep=7", "--", "sh", "sim.sh", "{a}", "{b}")
    assert cli("wait", "--tag", "sweep=7").code == 0
    listed = cli("list", "--tag", "sweep=7", "--oldest-first", "--json").json
    assert [job["tags"]["b"] for job in listed] == ["x", "y", "z"]
    assert cli("artifacts", "--tag", "sweep=7", "-o", "got").code == 0
    found = {path.parent.name: path.read_text() for path in (cli.folder / "got").rglob("out.txt")}
    assert found == {"1": "1-x\n", "2": "2-y\n", "3": "3-z\n"}


def test_waiting_for_a_tag_that_no_job_has_is_a_mistake(cli: Cli) -> None:
    assert cli("wait", "--tag", "typo=1").code == 2


def test_waiting_gives_up_with_124(cli: Cli) -> None:
    job_id = cli("submit", "--queue", "noop", "--params", '{"duration_s": 60}', "--tag", "a=1").out.strip()
    assert cli("wait", job_id, "--timeout", "0.2").code == 124
    assert cli("wait", "--tag", "a=1", "--timeout", "0.2").code == 124


def test_cancel_retry_and_edit_change_jobs(cli: Cli, server: ServerProcess) -> None:
    job_id = cli("submit", "--delay", "1h", "--tag", "a=1", "--", "true").out.strip()
    assert cli("edit", job_id, "--priority", "critical", "--tag", "b=2").code == 0
    job = server.job(job_id)
    assert (job["priority"], job["tags"]) == (20, {"a": "1", "b": "2"})
    assert cli("edit", job_id, "--untag", "a").code == 0
    assert server.job(job_id)["tags"] == {"b": "2"}
    assert cli("cancel", job_id).code == 0
    assert cli("cancel", job_id).code == 1
    assert cli("retry", "--state", "cancelled", "--tag", "b=2").out == "1 job\n"
    assert server.job(job_id)["state"] != "cancelled"


def test_logs_follow_a_job_over_its_attempts_and_exit_as_it_did(cli: Cli) -> None:
    command = 'echo "try $HPCQ_ATTEMPT"; [ "$HPCQ_ATTEMPT" = 2 ]'
    job_id = cli("submit", "--retries", "1", "--", command).out.strip()
    cli("wait", job_id)
    followed = cli("logs", "-f", job_id)
    assert followed.code == 0
    assert followed.out == "try 2\n"
    assert cli("logs", "--attempt", "1", job_id).out == "try 1\n"


def test_control_characters_of_a_job_never_come_through(cli: Cli) -> None:
    (cli.folder / "evil").write_bytes(HOSTILE.encode())
    job_id = cli("submit", "--name", HOSTILE, "--tag", f"t={HOSTILE}", "--", "sh", "-c", "cat evil; exit 1").out.strip()
    cli("wait", job_id)
    for words in (["logs", job_id], ["list"], ["show", job_id], ["explain", job_id], ["list", "--json"]):
        done = cli(*words)
        assert not {letter for letter in done.out + done.err if ord(letter) < 32 or 127 <= ord(letter) < 160} - set(
            "\n"
        )
    assert cli("logs", job_id).out == "red\nend\n"
    assert cli("logs", "--raw", job_id).out == HOSTILE


def test_explain_without_an_id_takes_the_oldest_waiting_job_of_each_queue(cli: Cli) -> None:
    cli("queues", "pause", "noop")
    first = cli("submit", "--queue", "noop").out.strip()
    cli("submit", "--queue", "noop")
    found = cli("explain", "--json").json
    assert [one["job"] for one in found] == [first]
    assert found[0]["reasons"][0]["code"] == "paused"
    assert "paused" in cli("explain").out


def test_queues_are_paused_resumed_and_scaled(cli: Cli) -> None:
    assert "paused" in cli("queues", "pause", "noop").out
    assert cli("queues", "resume", "noop", "--json").json["paused"] is False
    assert "3 (file: 16) slots" in cli("queues", "scale", "noop", "3").out
    assert "16 slots" in cli("queues", "scale", "noop", "auto").out
    assert "noop" in cli("queues").out
    assert cli("queues", "pause", "none").code == 2


def test_the_doctor_is_content_with_a_fresh_server(cli: Cli) -> None:
    done = cli("doctor")
    assert (done.code, done.err) == (0, "all is well\n")


@pytest.mark.parametrize("words", [["runners"], ["stats"], ["queues"], ["list"], ["doctor"]])
def test_every_command_that_prints_can_print_json(cli: Cli, words: list[str]) -> None:
    done = cli(*words, "--json")
    assert done.code == 0
    json.loads(done.out)


def test_a_backup_of_a_running_server_holds_every_job(cli: Cli, server: ServerProcess) -> None:
    cli("submit", "-f", "-", stdin='{"queue": "noop", "params": {}}\n' * 30)
    words = ["backup", "copy.db", "--data-dir", str(server.data_dir), "--json"]
    assert cli(*words).json["jobs"] == 30
    assert cli(*words).code == 2, "a backup replaces nothing"
    assert [path.name for path in cli.folder.iterdir()] == ["copy.db"]


def test_a_backup_says_which_folders_it_leaves_to_others(cli: Cli, server: ServerProcess) -> None:
    done = cli("backup", "copy.db", "--data-dir", str(server.data_dir))
    assert done.err.endswith(f"copy the folders jobs and blobs in {server.data_dir}\n")


def test_a_backup_of_no_store_says_so(cli: Cli) -> None:
    done = cli("backup", "copy.db", "--data-dir", str(cli.folder))
    assert done.code == 2
    assert "--data-dir" in done.err


def test_the_shell_completes_numbers_of_jobs(server: ServerProcess, cli: Cli) -> None:
    cli("submit", "--queue", "noop", "--name", "first")
    words = {"_HPCQ_COMPLETE": "bash_complete", "COMP_WORDS": "hpcq show ", "COMP_CWORD": "2"}
    assert Cli(server.url, cli.folder, **words)().out == "plain,1\n"
