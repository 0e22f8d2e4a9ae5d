"""`hpcq config`: what the server would run with."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcq.cli.calls import Code, json_option
from hpcq.cli.output import clean, print_json, say

if TYPE_CHECKING:
    from hpcq.config import Settings

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def config() -> None:
    """Show or check the configuration."""


@config.command()
@click.option("--config", "file", type=FILE, help="The file.  [default: the one that the server would find]")
@json_option
@click.pass_context
def show(ctx: click.Context, file: Path | None, as_json: bool) -> None:
    """Show every setting, with file, environment and defaults put together."""
    from hpcq import config as settings

    loaded = _load(ctx, file)
    values = loaded.model_dump(mode="json")
    if as_json:
        print_json(values)
        return
    found = settings.find_file(file)
    say(f"from {found}" if found else "from the defaults: there is no file")
    for table, entries in values.items():
        _print_table(table, entries)


def _print_table(name: str, entries: object) -> None:
    if not isinstance(entries, dict):
        click.echo(clean(f"{name} = {_value(entries)}"))
        return
    plain = {key: value for key, value in entries.items() if not isinstance(value, dict)}
    if plain or not entries:
        click.echo(f"[{clean(name)}]")
        for key, value in plain.items():
            empty = "# " if value is None else ""
            click.echo(clean(f"{empty}{key} = {_value(value)}"))
        click.echo()
    for key, value in entries.items():
        if isinstance(value, dict):
            _print_table(f"{name}.{key}", value)


def _value(value: object) -> str:
    import json

    return "unset" if value is None else json.dumps(value, ensure_ascii=False)


@config.command()
@click.argument("file", required=False, type=FILE)
@json_option
@click.pass_context
def check(ctx: click.Context, file: Path | None, as_json: bool) -> None:
    """Check FILE, or the one that the server would find; exit code 1 when it cannot be used.

    Each queue's own settings are checked by its runner.
    """
    from hpcq import config as settings
    from hpcq.server import check as check_all

    try:
        loaded = settings.load(file)
        found = settings.find_file(file)
        check_all(loaded)
    except settings.ConfigError as error:
        if as_json:
            print_json({"ok": False, "errors": str(error).splitlines()})
        else:
            say(f"hpcq: {error}")
        ctx.exit(Code.FAILED)
    if as_json:
        print_json({"ok": True, "file": str(found) if found else None, "queues": list(loaded.queues)})
    else:
        click.echo(f"{found or 'the defaults'}: good; queues: {', '.join(loaded.queues)}")


def _load(ctx: click.Context, file: Path | None) -> "Settings":
    from hpcq import config as settings

    try:
        return settings.load(file)
    except settings.ConfigError as error:
        say(f"hpcq: {error}")
        ctx.exit(Code.FAILED)
