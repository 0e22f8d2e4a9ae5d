"""`hpcq artifacts`: the files that jobs left."""

from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import click

from hpcq.cli.calls import Code, json_option, remote
from hpcq.cli.options import JOB, tag_option
from hpcq.cli.output import busy, clean, many, print_json, say, table

if TYPE_CHECKING:
    from hpcq.client import Client, Job

# What Windows and terminals cannot bear in a file's name.
STRANGE = set('<>:"|?*\\') | {chr(code) for code in (*range(32), *range(127, 160))}


@click.command()
@click.argument("ids", nargs=-1, type=JOB)
@tag_option
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Fetch the files into here.")
@json_option
@remote
async def artifacts(
    client: "Client", *, ids: tuple[str, ...], tags: tuple[tuple[str, str], ...], output: Path | None, as_json: bool
) -> int | None:
    """List the files that jobs left; with -o fetch them, each job's into a folder named by its number."""
    if bool(ids) == bool(tags):
        raise click.UsageError("give either job ids or --tag")
    found = [(job, one) async for job in _jobs(client, ids, dict(tags)) for one in await client.artifacts(job["id"])]
    rows = [{"job": job["id"], "number": job["number"], **one} for job, one in found]
    if output is None:
        if as_json:
            print_json(rows)
        else:
            table(
                ("job", "size", "name"), [(f"#{row['number']}", row["size"], row["name"]) for row in rows], empty="none"
            )
        return None
    refused = 0
    with busy("fetching") as words:
        for row in rows:
            words[0] = f"fetching {row['name']} of #{row['number']}"
            path = place(output / str(row["number"]), str(row["name"]))
            if path is None:
                refused += 1
                say(f"hpcq: left out {clean(row['name'])} of #{row['number']}: not a name of a file below a folder")
                continue
            await fetch_into(client, str(row["job"]), str(row["name"]), path)
            row["path"] = str(path)
    if as_json:
        print_json(rows)
    else:
        click.echo(f"{many(len(rows) - refused, 'file')} in {output}")
    return Code.FAILED if refused else None


async def _jobs(client: "Client", words: tuple[str, ...], tags: dict[str, str]) -> "AsyncIterator[Job]":
    from hpcq.client import Filter

    if tags:
        async for job in client.jobs(Filter(tags=tags), oldest_first=True):
            yield job
    for word in words:
        yield await client.job(await client.find(word))


def place(folder: Path, name: str) -> Path | None:
    """Where to write a file; None for a name that leads out of the folder. Names come from jobs: trust none."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or any(part in ("..", ".") for part in parts):
        return None
    safe = ["".join("_" if letter in STRANGE else letter for letter in part) for part in parts]
    return folder.joinpath(*safe)


async def fetch_into(client: "Client", job_id: str, name: str, path: Path) -> None:
    """Into a file beside it first, so that a broken connection leaves no half a file under its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(path.name + ".part")
    try:
        with half.open("wb") as file:
            async for chunk in client.artifact(job_id, name):
                file.write(chunk)
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
