"""`hpcq upload`: files for jobs that run elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcq.cli.calls import json_option, remote
from hpcq.cli.output import busy, print_json

if TYPE_CHECKING:
    from hpcq.client import Client


def _plain(_context: click.Context, _parameter: click.Parameter, path: Path) -> Path:
    """A pipe or a device may never end."""
    if not (path.is_file() or path.is_dir()):
        raise click.BadParameter(f"{path} is neither a file nor a folder")
    return path


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path), callback=_plain)
@click.option("--app-version-id", help="Name it, as a build that jobs are to test.")
@click.option("--org-id", help="The org whose name that is.")
@json_option
@remote
async def upload(
    client: "Client", *, path: Path, app_version_id: str | None, org_id: str | None, as_json: bool
) -> None:
    """Send a file, or a folder as a tar, unless the server has it, and print its SHA-256.

    In a job's params {"blob": SHA-256} stands for it.
    """
    if org_id and not app_version_id:
        raise click.UsageError("--org-id goes with --app-version-id: a file itself has no name")
    with busy(f"looking at {path.name}") as words:

        def show(sent: int, size: int) -> None:
            words[0] = f"sending {path.name}, {sent / max(1, size):.0%}"

        sha256 = await client.upload(path, on_sent=show)
    found = {"sha256": sha256}
    if app_version_id:
        found["app_version_id"] = (await client.name_app(app_version_id, sha256, org_id=org_id))["app_version_id"]
    if as_json:
        print_json(found)
    else:
        click.echo(sha256)
