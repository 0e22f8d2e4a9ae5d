"""A command's outcome says how it ended, with what it reported."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from hpcq.engine.launcher import Launcher
from hpcq.plugin import Infra, Outcome
from hpcq_runners.shell import ShellRunner
from tests.support.processes import is_alive
from tests.support.requests import PlainRequest
from tests.support.wait import wait_until

PARAMS: TypeAdapter[Any] = TypeAdapter(ShellRunner.params)


class Bench:
    """One runner, one launcher, and what is run with them."""

    def __init__(self, launcher: Launcher, root: Path) -> None:
        self.runner = ShellRunner()
        self.launcher = launcher
        self.root = root
        self.attempts = 0

    def request(self, command: Any, **more: Any) -> PlainRequest:
        more_env = more.pop("given", {})
        self.attempts += 1
        params = PARAMS.validate_python({"command": command, **more})
        return PlainRequest(self.launcher, self.root, params, attempt=self.attempts, more_env=more_env)

    async def run(self, command: Any, **more: Any) -> Outcome:
        request = self.request(command, **more)
        handle = json.loads(json.dumps(await self.runner.start(request)))
        return await self.runner.wait(request, handle)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    launcher = await Launcher.open()
    bench = Bench(launcher, tmp_path)
    yield bench
    await bench.runner.close()
    await launcher.close()


async def test_a_success_has_its_exit_code_and_the_tail_of_its_output(bench: Bench) -> None:
    outcome = await bench.run(["printf", "%s-%s", "a", "b c"])
    assert (outcome.result, outcome.error) == ({"exit_code": 0, "tail": "a-b c"}, None)


async def test_one_text_is_a_line_for_the_shell(bench: Bench) -> None:
    assert (await bench.run("echo one | tr o 0 >&2")).result == {"exit_code": 0, "tail": "0ne\n"}


async def test_the_tail_is_the_last_2_kib_as_text(bench: Bench) -> None:
    outcome = await bench.run("head -c 5000 /dev/zero | tr '\\0' x; printf '\\377end'")
    assert outcome.result["tail"] == "x" * 2044 + "\ufffdend"


async def test_an_exit_code_is_a_failure_with_its_tail(bench: Bench) -> None:
    outcome = await bench.run("echo why; exit 3")
    assert outcome.error is not None
    assert (outcome.error.type, outcome.error.message, outcome.error.exit_code) == ("exit", "exit code 3", 3)
    assert outcome.result == {"exit_code": 3, "tail": "why\n"}


async def test_a_killing_signal_is_a_failure_that_names_it(bench: Bench) -> None:
    error = (await bench.run("kill -KILL $$")).error
    assert error is not None
    assert (error.type, error.message, error.signal) == ("signal", "killed by SIGKILL", 9)


async def test_a_real_time_signal_has_a_number(bench: Bench) -> None:
    error = (await bench.run("kill -40 $$")).error
    assert error is not None
    assert error.message == "killed by signal 40"


async def test_what_was_used_is_told(bench: Bench) -> None:
    usage = (await bench.run("true")).usage
    assert usage is not None
    assert usage.max_rss_mb
    assert usage.cpu_s is not None


@pytest.mark.parametrize("written", ['{"loss": 0.5}', "[1, 2]", '"text"', "7", " {} \n"])
async def test_the_result_file_is_the_result(bench: Bench, written: str) -> None:
    outcome = await bench.run(f"echo out; printf '%s' '{written}' > $HPCQ_RESULT")
    assert (outcome.result, outcome.error) == (json.loads(written), None)


async def test_a_failed_command_keeps_its_result(bench: Bench) -> None:
    outcome = await bench.run("echo 5 > $HPCQ_RESULT; exit 2")
    assert outcome.result == 5
    assert outcome.error is not None
    assert outcome.error.exit_code == 2


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo '{' > $HPCQ_RESULT", "not JSON"),
        ("echo '[NaN]' > $HPCQ_RESULT", "not JSON"),
        ("printf '\\377' > $HPCQ_RESULT", "not JSON"),
        ("echo '\"\\\\ud800\"' > $HPCQ_RESULT", "not JSON"),
        ("(yes '[' | head -n 900; yes ']' | head -n 900) > $HPCQ_RESULT", "not JSON"),
        ("head -c 70000 /dev/zero > $HPCQ_RESULT", "has 70000 bytes, at most 65536"),
        ("mkdir $HPCQ_RESULT", "no regular file"),
        ("mkfifo $HPCQ_RESULT", "no regular file"),
        ("ln -s /etc/hostname $HPCQ_RESULT", "cannot be read"),
    ],
)
async def test_a_result_file_that_cannot_be_taken_fails_the_job(bench: Bench, script: str, message: str) -> None:
    outcome = await asyncio.wait_for(bench.run(script), 10)
    assert outcome.error is not None
    assert outcome.error.type == "exception"
    assert message in outcome.error.message


async def test_a_bad_result_file_does_not_hide_the_exit_code(bench: Bench) -> None:
    outcome = await bench.run("echo '{' > $HPCQ_RESULT; exit 4")
    assert outcome.error is not None
    assert outcome.error.exit_code == 4
    assert outcome.result == {"exit_code": 4, "tail": ""}


async def test_an_empty_result_file_is_none(bench: Bench) -> None:
    assert (await bench.run(": > $HPCQ_RESULT")).result == {"exit_code": 0, "tail": ""}


@pytest.mark.parametrize("command", [["no-such-program", "x"], ["/no/such/program"], ["./missing"]])
async def test_a_missing_program_fails_as_in_a_shell(bench: Bench, command: list[str]) -> None:
    error = (await bench.run(command)).error
    assert error is not None
    assert (error.type, error.exit_code) == ("exit", 127)
    assert error.message.startswith(f"program not found: {command[0]}")


async def test_a_script_whose_interpreter_is_missing_says_so(bench: Bench) -> None:
    script = bench.root / "script"
    script.write_text("#!/no/such/python\n")
    script.chmod(0o700)
    error = (await bench.run([str(script)])).error
    assert error is not None
    assert error.exit_code == 127
    assert "interpreter" in error.message


async def test_a_program_that_is_not_executable_fails_as_in_a_shell(bench: Bench) -> None:
    (bench.root / "notes.txt").touch()
    error = (await bench.run([str(bench.root / "notes.txt")])).error
    assert error is not None
    assert error.exit_code == 126
    assert "notes.txt: Permission denied" in error.message


async def test_a_missing_folder_is_named(bench: Bench) -> None:
    error = (await bench.run("true", cwd="/no/such/folder")).error
    assert error is not None
    assert error.type == "exit"
    assert error.message == "cwd /no/such/folder cannot be the working folder (No such file or directory)"


async def test_a_command_runs_in_the_private_folder_or_in_its_own(bench: Bench, tmp_path: Path) -> None:
    assert (await bench.run("pwd")).result["tail"] == f"{tmp_path}/work\n"
    bench.request("x").output.unlink()
    assert (await bench.run("pwd", cwd="/usr")).result["tail"] == "/usr\n"


async def test_stdin_is_given_and_empty_otherwise(bench: Bench) -> None:
    assert (await bench.run("cat", stdin="grüße\0")).result["tail"] == "grüße\0"
    bench.request("x").output.unlink()
    assert (await bench.run("cat")).result["tail"] == ""


async def test_a_jobs_variables_come_on_top_but_not_over_those_of_its_attempt(bench: Bench) -> None:
    own = {"A": "job", "HPCQ_JOB_ID": "stolen", "HPCQ_URL": "http://job", "CUDA_VISIBLE_DEVICES": "0,1"}
    given = {"A": "server", "B": "server", "HPCQ_RESOURCE_GPU": "1", "CUDA_VISIBLE_DEVICES": "1"}
    said = await bench.run("echo $A $B $HPCQ_JOB_ID $HPCQ_URL $CUDA_VISIBLE_DEVICES", env=own, given=given)
    assert said.result["tail"] == "job server job http://job 1\n"


async def test_a_job_that_was_given_no_gpu_may_choose_one(bench: Bench) -> None:
    own = {"CUDA_VISIBLE_DEVICES": ""}
    said = await bench.run("echo [$CUDA_VISIBLE_DEVICES]", env=own, given={"CUDA_VISIBLE_DEVICES": "1"})
    assert said.result["tail"] == "[]\n"


async def test_progress_is_reported_while_it_runs_and_at_the_end(bench: Bench) -> None:
    request = bench.request(
        """echo '{"done": 1, "total": 4, "message": "one"}' >> $HPCQ_PROGRESS
        while [ ! -e go ]; do sleep 0.02; done
        echo 'no json' >> $HPCQ_PROGRESS; echo '{"done": "x"}' >> $HPCQ_PROGRESS
        echo '{"done": 3}' >> $HPCQ_PROGRESS; echo '{"done": true}' >> $HPCQ_PROGRESS
        printf '{"done": 4' >> $HPCQ_PROGRESS
        """
    )
    handle = await bench.runner.start(request)
    await wait_until(lambda: request.reports == [(1, 4, "one")])
    (request.work_dir / "go").touch()
    await bench.runner.wait(request, handle)
    assert request.reports == [(1, 4, "one"), (3, None, "")]


@pytest.mark.parametrize("obstacle", ["mkfifo", "mkdir"])
async def test_a_progress_file_that_is_none_harms_nothing(bench: Bench, obstacle: str) -> None:
    outcome = await asyncio.wait_for(bench.run(f"{obstacle} $HPCQ_PROGRESS; exit 0"), 10)
    assert outcome.error is None


async def test_of_a_huge_progress_file_only_the_end_is_read(bench: Bench) -> None:
    request = bench.request("""yes '{"done": 1}' | head -c 9000000 > $HPCQ_PROGRESS; echo '
{"done": 2}' >> $HPCQ_PROGRESS""")
    await bench.runner.wait(request, await bench.runner.start(request))
    assert request.reports[-1] == (2, None, "")


async def test_stop_is_kind_and_then_is_not(bench: Bench) -> None:
    request = bench.request("trap '' TERM; echo up; while :; do sleep 0.02; done")
    handle = await bench.runner.start(request)
    await wait_until(request.output.read_text)
    await bench.runner.stop(request, handle, 0.1)
    await bench.runner.stop(request, handle, 0.1)
    error = (await bench.runner.wait(request, handle)).error
    assert error is not None
    assert error.signal == signal.SIGKILL
    await bench.runner.stop(request, handle, 0.1)


async def test_a_cancelled_wait_stops_nothing(bench: Bench) -> None:
    request = bench.request("while [ ! -e go ]; do sleep 0.02; done; exit 9")
    handle = await bench.runner.start(request)
    waiting = asyncio.ensure_future(bench.runner.wait(request, handle))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    (request.work_dir / "go").touch()
    error = (await bench.runner.wait(request, handle)).error
    assert error is not None
    assert error.exit_code == 9


async def test_a_launcher_that_dies_is_not_the_jobs_fault(bench: Bench) -> None:
    request = bench.request("sleep 60")
    handle = await bench.runner.start(request)
    os.kill(bench.launcher.pid, signal.SIGKILL)
    with pytest.raises(Infra, match="launcher"):
        await bench.runner.wait(request, handle)


async def test_close_ends_what_still_runs(bench: Bench) -> None:
    request = bench.request("trap '' TERM; sleep 60")
    handle = await bench.runner.start(request)
    await asyncio.wait_for(bench.runner.close(), 5)
    assert not is_alive(handle["pid"])
