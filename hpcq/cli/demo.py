"""`hpcq demo`: a day of work on a server of its own, every promise of it verified."""

import asyncio
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from hpcq.cli.calls import Code, json_option, stop_on_signals, stopped
from hpcq.cli.demo_board import Board
from hpcq.cli.demo_day import Scene, Wrong, day
from hpcq.cli.demo_server import DemoError, OwnServer
from hpcq.cli.output import clean, print_json, say

if TYPE_CHECKING:
    from hpcq.client import Client, Job

LIMIT_S = 60.0
LOOK_S = 0.15


@dataclass(frozen=True)
class Finding:
    """What the check of one scene saw."""

    scene: str
    ok: bool
    saw: str


@click.command()
@click.option("--keep", is_flag=True, help="Leave the server up at the end, and print its address.")
@json_option
def demo(*, keep: bool, as_json: bool) -> None:
    """Play a day of work on a server of its own, and verify what came of it.

    It needs nothing but this package: the server is started on a free port with a throw-away data folder. Exit code 1
    when a verification fails.
    """
    if sys.platform == "win32":
        raise click.UsageError("the server runs on Linux; here `hpcq` is a client")
    try:
        sys.exit(asyncio.run(_demo(keep=keep, as_json=as_json)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(stopped())


async def _demo(*, keep: bool, as_json: bool) -> int:
    from hpcq.client import Client, ClientError

    stop_on_signals()
    server = OwnServer()
    stays = False
    began = time.monotonic()
    try:
        url = await server.start()
        async with Client(url, patience_s=10) as client:
            jobs, findings = await _play(client, quiet=as_json)
            stays = keep
        took_s = time.monotonic() - began
    except (DemoError, ClientError) as error:
        say(f"hpcq: {clean(error).replace(chr(92) + 'n', chr(10))}")
        return Code.FAILED
    finally:
        if not stays:
            await server.stop()
    if as_json:
        kept = {"url": url, "pid": server.pid, "folder": str(server.folder)} if keep else None
        checks = [asdict(finding) for finding in findings]
        print_json({"ok": all(one.ok for one in findings), "checks": checks, "jobs": len(jobs), "server": kept})
    else:
        _summary(jobs, findings, took_s)
        _farewell(server if keep else None)
    return Code.OK if all(finding.ok for finding in findings) else Code.FAILED


async def _play(client: "Client", *, quiet: bool) -> "tuple[list[Job], list[Finding]]":
    """Submit every scene, show what happens, and check each."""
    scenes = day()
    ids = [await scene.play(client, scene.specs) for scene in scenes]
    if quiet:
        jobs = await _until_final(client, None)
    else:
        with Board(f"hpcq demo on {client.url}") as board:
            jobs = await _until_final(client, board)
    by_id = {job["id"]: job for job in jobs}
    checks = [_check(client, scene, [by_id[one] for one in own]) for scene, own in zip(scenes, ids, strict=True)]
    return jobs, list(await asyncio.gather(*checks))


async def _until_final(client: "Client", board: Board | None) -> "list[Job]":
    jobs: list[Job] = []
    with suppress(TimeoutError):  # what is not final by then fails its check
        async with asyncio.timeout(LIMIT_S):
            while True:
                jobs = [job async for job in client.jobs(oldest_first=True)]
                if board is not None:
                    board.show(jobs)
                if all(job.get("finished_at") for job in jobs):
                    break
                await asyncio.sleep(LOOK_S)
    return jobs


async def _check(client: "Client", scene: Scene, jobs: "list[Job]") -> Finding:
    try:
        return Finding(scene.title, True, await scene.check(client, jobs))
    except Wrong as wrong:
        return Finding(scene.title, False, str(wrong))


def _summary(jobs: "list[Job]", findings: list[Finding], took_s: float) -> None:
    click.echo()
    for one in findings:
        mark = click.style("ok   ", fg="green") if one.ok else click.style("WRONG", fg="red", bold=True)
        click.echo(f"{mark}  {one.scene}: {clean(one.saw)}")
    good = sum(one.ok for one in findings)
    click.echo(
        f"\n{len(jobs)} jobs; {good} of {len(findings)} verifications hold; {took_s:.1f} s with the server's start"
    )


def _farewell(kept: OwnServer | None) -> None:
    """Where things lie, and what to type next."""
    if kept is not None:
        data = kept.folder / "data"
        click.echo(f"\nThe server is up at {kept.url} (docs: {kept.url}/docs), pid {kept.pid}.")
        click.echo(f"Store: {data / 'hpcq.db'}; outputs and artifacts: {data / 'jobs'}; log: {kept.log}")
        click.echo("Next:")
        click.echo(f"  export HPCQ_URL={kept.url}")
        click.echo("  hpcq list")
        click.echo("  hpcq run -- echo hello")
        click.echo(f"When done: kill {kept.pid} && rm -r {kept.folder}")
        return
    click.echo("\nThis server and its folder are gone; yours keeps all in ~/.local/state/hpcq: the store hpcq.db, and")
    click.echo("outputs and artifacts in jobs/. `hpcq demo --keep` leaves the server up. Next:")
    click.echo("  hpcq serve &")
    click.echo("  hpcq run -- echo hello")
    click.echo("""  hpcq submit --wait --queue compute --params '{"operation": "matmul", "size": 512}'""")
