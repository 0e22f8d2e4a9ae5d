"""How a command talks to its server: options, errors as one line on stderr, exit codes."""

import functools
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcq.cli.output import clean, say

if TYPE_CHECKING:
    from hpcq.client import Client, Job, Problem

URL = "http://127.0.0.1:8000"

GONE = (404, 410)  # the status of what is pruned
SPLIT = re.compile(r"(?:/\d+)?/params/split")

Command = Callable[..., Awaitable[int | None]]


class Code(IntEnum):
    """Exit codes of every command."""

    OK = 0  # all succeeded
    FAILED = 1  # a job did not, or is in no state for it
    USAGE = 2  # asked wrongly
    NO_SERVER = 3
    NOT_ITS_FAULT = 4  # all that failed is `infra` or `lost`, or the server could not (5xx)
    NOT_WRITTEN = 74  # all succeeded, but a file that was asked for could not be written
    GAVE_UP = 124  # waiting took too long
    HUNG_UP = 129  # 128 and the number of the signal
    INTERRUPTED = 130
    TERMINATED = 143


def verdict(jobs: Iterable["Job"]) -> Code:
    """The exit code for jobs that are final."""
    bad = [job for job in jobs if job["state"] != "succeeded"]
    if not bad:
        return Code.OK
    kinds = {(job.get("error") or {}).get("type") if job["state"] == "failed" else "cancelled" for job in bad}
    return Code.NOT_ITS_FAULT if kinds <= {"infra", "lost"} else Code.FAILED


def remote(command: Command) -> Callable[..., None]:
    """Make a click callback of `async def command(client, **options) -> exit code or None`."""

    @click.option("--url", envvar="HPCQ_URL", default=URL, show_default=True, help="The server; also HPCQ_URL.")
    @click.option(
        "--token-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A file that holds a token; or set HPCQ_TOKEN.",
    )
    @functools.wraps(command)
    def call(url: str, token_file: Path | None, **options: Any) -> None:
        sys.exit(talk(url, token(token_file), functools.partial(command, **options)))

    return call


def token(file: Path | None) -> str | None:
    """The token to show, if there is one."""
    text = file.read_text(encoding="utf-8") if file else os.environ.get("HPCQ_TOKEN", "")
    return text.strip() or None


def talk(url: str, secret: str | None, command: Callable[["Client"], Awaitable[int | None]]) -> int:
    """Run a command's coroutine against a server; the exit code."""
    import asyncio

    from hpcq.client import Client, ClientError, NoServer, Problem

    async def main() -> int | None:
        stop_on_signals()
        async with Client(url, secret, on_outage=_outage) as client:
            return await command(client)

    try:
        return asyncio.run(main()) or Code.OK
    except Problem as problem:
        return refused(problem)
    except NoServer as error:
        say(f"hpcq: {clean(error)}")
        return Code.NO_SERVER
    except ClientError as error:
        say(f"hpcq: {clean(error)}")
        return Code.USAGE
    except TimeoutError:
        say("hpcq: gave up waiting")
        return Code.GAVE_UP
    except (KeyboardInterrupt, asyncio.CancelledError):
        return stopped()


def _outage(why: str | None) -> None:
    say(f"hpcq: the server does not answer ({clean(why)}); trying again" if why else "hpcq: the server answers again")


_heard: list[signal.Signals] = []  # signals are the whole process's


def stop_on_signals() -> None:
    """Let SIGTERM and SIGHUP end the command as Ctrl-C does, so that what it promised for its exit still happens."""
    import asyncio

    task = asyncio.current_task()
    if task is None or sys.platform == "win32":
        return

    def stop(number: signal.Signals) -> None:
        _heard.append(number)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
            with suppress(RuntimeError, ValueError):  # not in the main thread
                asyncio.get_running_loop().add_signal_handler(number, stop, number)


def stopped() -> Code:
    """The exit code of a command that a signal has ended."""
    return Code(128 + _heard[0]) if _heard else Code.INTERRUPTED


def refused(problem: "Problem") -> Code:
    """Say what the server refused, and every field that it names; the exit code."""
    say(f"hpcq: {clean(problem.detail or problem.title)}")
    for error in problem.errors:
        line = f"{error['pointer'] or '/'}: {error['detail']}"
        if line not in problem.detail:  # which names the parameters of a query itself
            say(f"  {clean(line)}")
    return code_of(problem)


def code_of(problem: "Problem") -> Code:
    """Tests that cannot be found in a folder are its project's fault, as they are where a job finds none."""
    if problem.status == 429 or problem.status >= 500:
        return Code.NOT_ITS_FAULT
    of_project = bool(problem.errors) and all(SPLIT.fullmatch(error["pointer"]) for error in problem.errors)
    return Code.FAILED if problem.status == 409 or (problem.status == 422 and of_project) else Code.USAGE


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
