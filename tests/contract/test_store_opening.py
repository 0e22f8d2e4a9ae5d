"""Opening the store: its settings, its versions, its lock, its copies."""

import contextlib
import json
import os
import socket
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hpcq.store import schema
from hpcq.store.datafolder import DataFolder
from hpcq.store.errors import StoreLocked, StoreTooNew
from hpcq.store.writer import Writer
from tests.support.storerows import job_id, jobs_with, reading, writing
from tests.support.wait import wait_until


def pragma(db: sqlite3.Connection, name: str) -> object:
    return db.execute(f"PRAGMA {name}").fetchone()[0]


async def test_the_writer_is_durable_and_alone_in_moving_the_log(tmp_path: Path) -> None:
    writer = await Writer.open(tmp_path / "hpcq.db")
    names = ("journal_mode", "synchronous", "wal_autocheckpoint", "journal_size_limit", "user_version")
    found = await writer._hop.run(lambda: {name: pragma(writer._db, name) for name in names})
    newest = schema.migrations()[-1][0]
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,  # FULL
        "wal_autocheckpoint": 0,
        "journal_size_limit": 16 << 20,
        "user_version": newest,
    }
    await writer.close()


async def test_readers_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "hpcq.db"
    async with writing(path) as writer, reading(path) as reader:
        await writer.commit(jobs_with([1]))
        for statement in ("DELETE FROM jobs", "CREATE TABLE x (y)", "PRAGMA user_version = 7"):
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                await reader._rows(statement)
        with pytest.raises(sqlite3.OperationalError):
            await reader._rows("PRAGMA wal_checkpoint(TRUNCATE)")
        assert await reader._rows("PRAGMA query_only") == [(1,)]
        assert await reader.job(None, job_id(1)) is not None


async def test_files_and_folder_are_the_owners_alone(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "deep" / "data")
    folder.lock()
    writer = await Writer.open(folder.database)
    await writer.commit(jobs_with([1]))
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.path.iterdir()}
    assert modes == {"hpcq.db": 0o600, "hpcq.db-wal": 0o600, "hpcq.db-shm": 0o600, "lock": 0o600, "jobs": 0o700}
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    await writer.close()
    folder.unlock()


async def test_the_log_is_emptied_when_the_writer_is_idle(tmp_path: Path) -> None:
    writer = await Writer.open(tmp_path / "hpcq.db")
    await writer.commit(jobs_with(range(1, 100)))
    log = tmp_path / "hpcq.db-wal"
    await wait_until(lambda: log.stat().st_size == 0, what="an empty log")
    await writer.close()


async def test_a_large_log_is_emptied_before_the_next_round(tmp_path: Path) -> None:
    writer = await Writer.open(tmp_path / "hpcq.db")
    log = tmp_path / "hpcq.db-wal"
    for first in range(1, 400, 20):
        await writer.commit(jobs_with(range(first, first + 20), spec=b"x" * 60_000))
        assert log.stat().st_size < (16 << 20) + (3 << 20)
    await writer.close()


async def test_a_reader_in_the_way_does_not_hold_up_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "hpcq.db"
    writer = await Writer.open(path)
    await writer.commit(jobs_with([1]))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM jobs").fetchall()
        for first in range(2, 1000, 100):
            await writer.commit(jobs_with(range(first, first + 100), spec=b"x" * 30_000))
        assert path.with_name("hpcq.db-wal").stat().st_size > 16 << 20
        reader.execute("COMMIT")
    log = path.with_name("hpcq.db-wal")
    await writer.commit(jobs_with([5000]))
    await wait_until(lambda: log.stat().st_size == 0, what="an empty log")
    await writer.close()


async def test_a_file_of_a_newer_version_is_refused_with_a_sentence_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hpcq.db"
    await (await Writer.open(path)).close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 9000")
    before = path.read_bytes()
    with pytest.raises(StoreTooNew, match=r"newer hpcq .*9000.*restore a backup"):
        await Writer.open(path)
    assert path.read_bytes() == before


def steps(*more: tuple[int, str]) -> list[tuple[int, str]]:
    return [*schema.migrations(), *more]


async def test_an_existing_file_is_copied_before_it_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "hpcq.db"
    writer = await Writer.open(path)
    await writer.commit(jobs_with([1]))
    await writer.close()
    next_step = schema.migrations()[-1][0] + 1
    change = "ALTER TABLE jobs ADD COLUMN colour TEXT; UPDATE jobs SET colour = 'red'; CREATE TABLE new (x) STRICT;"
    with contextlib.closing(schema.open_for_writing(path, steps((next_step, change.replace("(x)", "(x TEXT)"))))) as db:
        assert db.execute("SELECT colour FROM jobs").fetchall() == [("red",)]
        assert schema.version_of(db) == next_step
    copy = tmp_path / f"hpcq-before-{next_step:04d}.db"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with contextlib.closing(sqlite3.connect(copy)) as old:
        assert schema.version_of(old) == next_step - 1
        assert old.execute("SELECT count(*) FROM jobs").fetchone() == (1,)
    with contextlib.closing(schema.open_for_writing(path, steps((next_step, change)))) as db:  # it is not done twice
        assert schema.version_of(db) == next_step


async def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "hpcq.db"
    await (await Writer.open(path)).close()
    next_step = schema.migrations()[-1][0] + 1
    with pytest.raises(sqlite3.OperationalError):
        schema.open_for_writing(path, steps((next_step, "CREATE TABLE half (x TEXT); NONSENSE;")))
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert schema.version_of(db) == next_step - 1
        assert db.execute("SELECT name FROM sqlite_master WHERE name = 'half'").fetchall() == []


def test_triggers_survive_the_cutting_of_a_script_into_statements() -> None:
    for number, sql in schema.migrations():
        found = schema.statements(sql)
        assert "".join(found).strip() == sql.strip(), number
        assert all(sqlite3.complete_statement(statement) for statement in found)


async def test_a_backup_of_a_live_store_is_a_store(tmp_path: Path) -> None:
    writer = await Writer.open(tmp_path / "hpcq.db")
    await writer.commit(jobs_with(range(1, 50)))
    copy = tmp_path / "copies" / "copy.db"
    copy.parent.mkdir()
    await writer.backup(copy)
    await writer.commit(jobs_with([50]))
    await writer.backup(copy)  # replaces the older one
    await writer.close()
    again = await Writer.open(copy)
    assert (await again.counters()).job == 50
    await again.close()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [file.name for file in copy.parent.iterdir()] == ["copy.db"]


def test_advice_on_sqlite_is_given_for_versions_with_the_known_fault() -> None:
    advice = schema.sqlite_advice()
    if sqlite3.sqlite_version_info >= (3, 51, 3):
        assert advice is None
    else:
        assert advice
        assert sqlite3.sqlite_version in advice
        assert "3.51.3" in advice


def test_a_second_server_on_the_folder_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path / "data"), DataFolder(tmp_path / "data")
    assert first.lock() is None
    with pytest.raises(StoreLocked, match=rf"process {os.getpid()} on {socket.gethostname()}, since 20") as refused:
        second.lock()
    assert (refused.value.pid, refused.value.host) == (os.getpid(), socket.gethostname())
    first.unlock()
    first.unlock()
    touched = second.lock()
    assert touched is not None
    assert json.loads(second.lock_file.read_text())["pid"] == os.getpid()
    second.unlock()


HOLD = """
import sys
from pathlib import Path
from hpcq.store.datafolder import DataFolder
DataFolder(Path(sys.argv[1])).lock()
print("held", flush=True)
sys.stdin.read()
"""


def test_the_lock_of_a_killed_server_is_free(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == "held\n"
        with pytest.raises(StoreLocked, match=f"process {child.pid}"):
            DataFolder(tmp_path).lock()
        child.kill()
        child.wait()
        folder = DataFolder(tmp_path)
        assert folder.lock() is not None
        folder.unlock()


def test_a_folder_that_is_not_ours_keeps_its_mode(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o755)
    folder = DataFolder(theirs)
    folder.lock()
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o755
    folder.unlock()
    folder.database.touch()
    folder.lock()
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o700
    folder.unlock()


def test_a_lock_file_without_words_is_no_obstacle(tmp_path: Path) -> None:
    folder, other = DataFolder(tmp_path), DataFolder(tmp_path)
    folder.lock()
    folder.lock_file.write_text("{")
    with pytest.raises(StoreLocked, match="another process"):
        other.lock()
    folder.unlock()
