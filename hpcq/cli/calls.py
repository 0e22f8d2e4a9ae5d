"""How a command talks to its server: options, errors as one line on stderr, exit codes."""

import functools
import os
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

Command = Callable[..., Awaitable[int | None]]


class Code(IntEnum):
    """Exit codes of every command."""

    OK = 0  # all succeeded
    FAILED = 1  # a job did not, or the server could not
    USAGE = 2  # asked wrongly
    NO_SERVER = 3
    NOT_ITS_FAULT = 4  # all that failed is `infra` or `lost`: worth another try
    GAVE_UP = 124  # waiting took too long
    INTERRUPTED = 130


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
        stop_on_sigterm()
        async with Client(url, secret) as client:
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
        return Code.INTERRUPTED


def stop_on_sigterm() -> None:
    """Let SIGTERM end the command as Ctrl-C does, so that what it promised for its exit still happens."""
    import asyncio

    task = asyncio.current_task()
    if task is not None and sys.platform != "win32":
        with suppress(RuntimeError, ValueError):  # not in the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def refused(problem: "Problem") -> Code:
    """Say what the server refused, and every field that it names."""
    say(f"hpcq: {clean(problem.detail or problem.title)}")
    for error in problem.errors:
        line = f"{error['pointer'] or '/'}: {error['detail']}"
        if line not in problem.detail:  # which names the parameters of a query itself
            say(f"  {clean(line)}")
    return Code.USAGE if 400 <= problem.status < 500 and problem.status != 409 else Code.FAILED


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
