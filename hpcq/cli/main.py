"""The program `hpcq`."""

import contextlib
import os
import sys

import click

from hpcq.cli.groups import LazyGroup, Place

PLACES = {
    "serve": Place("hpcq.cli.serve:serve", "Run the server."),
    "demo": Place("hpcq.cli.demo:demo", "Play a day of work on a server of its own."),
    "submit": Place("hpcq.cli.submit:submit", "Submit jobs."),
    "run": Place("hpcq.cli.run:run", "Submit jobs, watch them, report how they ended."),
    "list": Place("hpcq.cli.list:list_jobs", "List jobs."),
    "show": Place("hpcq.cli.show:show", "Show all about a job."),
    "wait": Place("hpcq.cli.wait:wait", "Wait until jobs are final."),
    "logs": Place("hpcq.cli.logs:logs", "Print what a job printed."),
    "cancel": Place("hpcq.cli.cancel:cancel", "End jobs, also running ones."),
    "retry": Place("hpcq.cli.retry:retry", "Run final jobs again."),
    "edit": Place("hpcq.cli.edit:edit", "Change jobs that are not final."),
    "explain": Place("hpcq.cli.explain:explain", "Say why a job is not running."),
    "artifacts": Place("hpcq.cli.artifacts:artifacts", "List or fetch the files that jobs left."),
    "upload": Place("hpcq.cli.upload:upload", "Send a file that jobs need."),
    "queues": Place("hpcq.cli.queues:queues", "Show, pause, resume or scale queues."),
    "devices": Place("hpcq.cli.devices:devices", "Show devices, put one back to work."),
    "schedules": Place("hpcq.cli.schedules:schedules", "Submit jobs by the clock."),
    "runners": Place("hpcq.cli.runners:runners", "Show the runners and what they lack."),
    "tests": Place("hpcq.cli.tests:tests", "List tests and how they have fared."),
    "stats": Place("hpcq.cli.runners:stats", "Show figures about the server."),
    "doctor": Place("hpcq.cli.doctor:doctor", "Say what is missing, and what mends it."),
    "backup": Place("hpcq.cli.backup:backup", "Copy the store to a file, also while the server runs."),
    "prune": Place("hpcq.cli.prune:prune", "Remove what retention does not keep."),
    "config": Place("hpcq.cli.config:config", "Show or check the configuration."),
    "completion": Place("hpcq.cli.completion:completion", "Print the completion script of a shell."),
}


def _version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from hpcq import __version__

        click.echo(f"hpcq {__version__}")
        ctx.exit()


class Program(LazyGroup):
    """All commands."""

    places = PLACES


@click.command(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
def program() -> None:
    """A durable job queue for one box.

    \b
    hpcq demo                      see it all in ten seconds
    hpcq serve                     run the server
    hpcq run -- make test          submit, watch, exit as the job does

    Exit codes: 0 all succeeded, 1 a job did not, 2 asked wrongly, 3 no server,
    4 not the jobs' fault (infra, lost, 5xx), 74 a report could not be written, 124 gave up waiting.
    """


def main() -> None:
    """Entry point. What a terminal cannot show is written as an escape, never a crash."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        program.main(prog_name="hpcq")
    except OSError as error:
        with contextlib.suppress(OSError):
            click.echo(f"hpcq: {error}", err=True)
        os._exit(1)  # what is still to be flushed would fail again


if __name__ == "__main__":
    main()
