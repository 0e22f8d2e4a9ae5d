"""`hpcq backup`: a copy of the store, also while the server runs."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import click

from hpcq.cli.calls import json_option
from hpcq.cli.output import busy, print_json, say


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help="The server's data folder.")
@click.option("--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="Its config file.")
@json_option
def backup(file: Path, data_dir: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Copy the store to FILE: jobs, results, events, schedules.

    It reads one snapshot, so the server may go on working meanwhile. Outputs, artifacts and uploads are not in it: they
    are plain files in the folders `jobs` and `blobs` beside the store; copy those after it. To restore, put FILE in the
    place of hpcq.db, and the folders beside it, while no server runs.
    """
    store = _store(data_dir, config_file)
    with busy(f"copying {store}"):
        jobs = copy(store, file)
    if as_json:
        print_json({"file": str(file.absolute()), "bytes": file.stat().st_size, "jobs": jobs})
    else:
        click.echo(f"{file}: {jobs} jobs, {file.stat().st_size:,} bytes, checked")
        say(f"outputs, artifacts and uploads are not in it: copy the folders jobs and blobs in {store.parent}")


def _store(data_dir: Path | None, config_file: Path | None) -> Path:
    from hpcq import config

    try:
        settings = config.load(config_file)
    except config.ConfigError as error:
        raise click.UsageError(str(error)) from None
    store = (data_dir or config.data_dir(settings)) / "hpcq.db"
    if not store.is_file():
        raise click.UsageError(f"{store}: no such file; name the server's data folder with --data-dir")
    return store


def copy(store: Path, file: Path) -> int:
    """Copy, check the copy, and only then give it its name; how many jobs it holds. Raises click.ClickException."""
    if file.exists():
        raise click.UsageError(f"{file} is there already; a backup replaces nothing")
    half = file.with_name(file.name + ".part")
    half.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(f"file:{quote(str(store.absolute()))}?mode=ro", uri=True, timeout=30)) as source:
            half.touch(mode=0o600)
            source.execute("VACUUM INTO ?", (str(half),))
        jobs = _check(half)
        half.replace(file)
    except (sqlite3.Error, OSError) as error:
        raise click.ClickException(f"no backup: {error}") from None  # exit code 1
    finally:
        half.unlink(missing_ok=True)
    return jobs


def _check(file: Path) -> int:
    with closing(sqlite3.connect(f"file:{quote(str(file.absolute()))}?mode=ro", uri=True)) as found:
        (verdict,) = found.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"the copy is damaged: {verdict}")
        (jobs,) = found.execute("SELECT count(*) FROM jobs").fetchone()
    return int(jobs)
