"""`hpcq schedules`: jobs by the clock."""

from typing import TYPE_CHECKING, Any

import click

from hpcq.cli.calls import json_option, remote
from hpcq.cli.groups import ListingGroup
from hpcq.cli.output import clean, compact, pairs, print_json, table
from hpcq.cli.specs import job_options
from hpcq.cli.submit import prepared

if TYPE_CHECKING:
    from hpcq.client import Client

Schedule = dict[str, Any]

OVERLAP = click.option(
    "--overlap", type=click.Choice(["skip", "queue", "allow"]), help="When the last run still goes on.  [default: skip]"
)
CATCH_UP = click.option(
    "--catch-up", type=click.Choice(["none", "one", "all"]), help="For runs missed while down.  [default: none]"
)
ZONE = click.option("--timezone", help="The zone of the cron line.  [default: UTC]")


@click.group(cls=ListingGroup)
def schedules() -> None:
    """Submit jobs by the clock: list, add, edit, run, remove."""


@schedules.command(name="list")
@json_option
@remote
async def show_all(client: "Client", *, as_json: bool) -> None:
    """Show all schedules."""
    found = await client.schedules()
    if as_json:
        print_json(found)
        return
    columns = ("schedule", "cron", "zone", "next", "state", "overlap", "catch up", "id")
    table(columns, map(_row, found), empty="no schedule; add one: hpcq schedules add NAME --cron '0 2 * * *' -- CMD")


def _row(one: Schedule) -> tuple[object, ...]:
    state = "paused" if one.get("paused") else "on"
    due = (one.get("next_run_at") or "-")[:19].replace("T", " ")
    return one["name"], one["cron"], one.get("timezone"), due, state, one.get("overlap"), one.get("catch_up"), one["id"]


@schedules.command()
@click.argument("schedule")
@json_option
@remote
async def show(client: "Client", *, schedule: str, as_json: bool) -> None:
    """Show a schedule and its last runs."""
    found = await client.schedule((await find(client, schedule))["id"])
    if as_json:
        print_json(found)
        return
    runs = found.pop("last_runs", None) or []
    pairs((name, compact(value)) for name, value in found.items())
    if runs:
        columns = list(runs[0])
        table(columns, [[compact(run.get(name)) for name in columns] for run in runs])


@schedules.command()
@click.argument("schedule")
@click.option("--cron", required=True, metavar="LINE", help="Five fields, or @hourly, @daily, @weekly, @monthly.")
@ZONE
@OVERLAP
@CATCH_UP
@click.option("--paused", is_flag=True, help="Do not run it yet.")
@job_options("--timeout")
@json_option
@remote
async def add(client: "Client", *, schedule: str, as_json: bool, cron: str, paused: bool, **options: Any) -> None:
    """Add a schedule called SCHEDULE; the job is given as to `hpcq submit`.

    \b
    hpcq schedules add nightly --cron '0 2 * * *' --timezone Europe/Berlin -- make nightly
    """
    body = _timing(options) | {"name": schedule, "cron": cron, "paused": paused}
    specs = await prepared(client, options)
    body |= {"job": specs[0]} if len(specs) == 1 else {"jobs": specs}
    _print(await client.create_schedule(body), as_json=as_json)


@schedules.command()
@click.argument("schedule")
@click.option("--cron", metavar="LINE", help="Another cron line.")
@click.option("--rename", "name", help="Another name.")
@ZONE
@OVERLAP
@CATCH_UP
@json_option
@remote
async def edit(client: "Client", *, schedule: str, as_json: bool, **options: Any) -> None:
    """Change when a schedule runs."""
    changes = _timing(options) | {key: options[key] for key in ("cron", "name") if options[key] is not None}
    if not changes:
        raise click.UsageError("nothing to change: give an option, for instance --cron")
    await _change(client, schedule, changes, as_json=as_json)


@schedules.command()
@click.argument("schedule")
@json_option
@remote
async def pause(client: "Client", *, schedule: str, as_json: bool) -> None:
    """Let a schedule rest."""
    await _change(client, schedule, {"paused": True}, as_json=as_json)


@schedules.command()
@click.argument("schedule")
@json_option
@remote
async def resume(client: "Client", *, schedule: str, as_json: bool) -> None:
    """Let a schedule run again."""
    await _change(client, schedule, {"paused": False}, as_json=as_json)


@schedules.command()
@click.argument("schedule")
@json_option
@remote
async def run(client: "Client", *, schedule: str, as_json: bool) -> None:
    """Submit a schedule's jobs now."""
    done = await client.run_schedule((await find(client, schedule))["id"])
    if as_json:
        print_json(done)
    else:
        click.echo("\n".join(clean(one) for one in done.get("ids") or []))


@schedules.command()
@click.argument("schedule")
@remote
async def remove(client: "Client", *, schedule: str) -> None:
    """Forget a schedule; its jobs stay."""
    found = await find(client, schedule)
    await client.delete_schedule(found["id"])
    click.echo(clean(f"removed {found['name']}"))


async def find(client: "Client", word: str) -> Schedule:
    """A schedule by its id, the beginning of one, or its name."""
    every = await client.schedules()
    found = [one for one in every if word in (one["name"], one["id"])]
    found = found or [one for one in every if str(one["id"]).startswith(word)]
    if len(found) == 1:
        return found[0]
    if found:
        raise click.UsageError(f"{word!r} may be any of: {', '.join(str(one['id']) for one in found[:5])}")
    known = ", ".join(str(one["name"]) for one in every[:10])
    raise click.UsageError(f"no schedule {word!r}; {f'there are: {known}' if known else 'there is none at all'}")


def _timing(options: dict[str, Any]) -> Schedule:
    names = ("timezone", "overlap", "catch_up")
    return {name: value for name in names if (value := options.pop(name)) is not None}


async def _change(client: "Client", word: str, changes: Schedule, *, as_json: bool) -> None:
    _print(await client.change_schedule((await find(client, word))["id"], changes), as_json=as_json)


def _print(one: Schedule, *, as_json: bool) -> None:
    if as_json:
        print_json(one)
        return
    when = "paused" if one.get("paused") else f"next at {one.get('next_run_at')}"
    click.echo(clean(f"{one['name']} ({one['id']}): {one['cron']} {one.get('timezone', 'UTC')}, {when}"))
