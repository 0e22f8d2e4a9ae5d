"""The modules of uploaded projects: their own by `npm ci`, or the queue's, and what is said where there are none."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpcq.engine.launcher import Launcher
from hpcq.plugin import Infra, Outcome, Rejected
from hpcq_runners.appwright import modules, npm, run, split, tools
from hpcq_runners.appwright.attempt import Attempt
from hpcq_runners.appwright.params import AppwrightParams
from hpcq_runners.appwright.settings import AppwrightSettings
from hpcq_runners.fields import Blob
from tests.support import packages
from tests.support.testruns import House
from tests.support.wait import wait_until

SHA256 = "0123456789abcdef" * 4
UPLOADED = {"test_path": "tests/one.spec.js", "cwd": {"blob": SHA256}}
NO_RETRIES = {"npm_config_fetch_retries": "0"}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    launcher = await Launcher.open()
    (tmp_path / "queue").mkdir()
    yield House(tmp_path / "queue", launcher, AppwrightSettings(npm_ci=True))
    await launcher.close()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With word 1.0.0."""
    return packages.shop(tmp_path_factory.mktemp("made") / "shop")


@pytest.fixture
def own(shop: Path, tmp_path: Path) -> Path:
    """A shop that may be changed."""
    return Path(shutil.copytree(shop, tmp_path / "own"))


async def job_of(house: House, folder: Path, job: str, **params: Any) -> tuple[Outcome, str]:
    """A job of the project that lies in the folder, and what it printed."""
    archive = packages.packed(folder, house.root / f"{job}.tar")
    outcome = await house.run({**UPLOADED, **params}, job, blobs={SHA256: archive})
    return outcome, (house.root / job / "output.log").read_text()


def kept(house: House) -> list[str]:
    return os.listdir(house.context.data_dir / npm.KEPT)


async def test_an_upload_is_tested_with_the_versions_that_its_lock_names(house: House, shop: Path) -> None:
    newer = packages.shop(house.root / "newer", word="2.0.0")
    for folder, job, word in ((shop, "first", "1.0.0"), (newer, "second", "2.0.0")):
        outcome, said = await job_of(house, folder, job)
        assert outcome.error is None, said
        assert f"WORD {word}" in said
        assert "hpcq: npm ci" in said
    old = next((house.context.data_dir / npm.KEPT).iterdir())
    outcome, said = await job_of(house, shop, "third")
    assert outcome.error is None
    assert "WORD 1.0.0" in said
    assert "npm ci" not in said, "what is installed is used again"
    assert len(kept(house)) == 2
    os.utime(old, (0, 0))
    await job_of(house, packages.shop(house.root / "newest", word="3.0.0"), "fourth")
    assert old.name not in kept(house), "what is unused for long goes when room is taken"
    assert len(kept(house)) == 2


async def test_jobs_that_come_at_once_install_once(house: House, shop: Path) -> None:
    done = await asyncio.gather(*(job_of(house, shop, job) for job in "ab"))
    assert [outcome.error for outcome, _ in done] == [None, None]
    assert sum("npm ci" in said for _, said in done) == 1


async def test_a_split_installs_too(house: House, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "NPM_S", 60.0)
    archive = packages.packed(shop, house.root / "shop.tar")
    params = AppwrightParams(test_path="tests", cwd=Blob(blob=SHA256), split="file")
    assert [part.file for part in await split.split(params, house.context, lambda _: archive)] == ["tests/one.spec.js"]
    assert "npm ci" not in (await job_of(house, shop, "job"))[1]


async def test_a_project_that_has_parts_of_its_own_is_installed_for_each_upload(house: House, own: Path) -> None:
    for word in ("mine", "yours"):
        (own / "word").mkdir(exist_ok=True)
        (own / "word" / "package.json").write_text('{"name": "word", "version": "1.0.0"}')
        (own / "word" / "index.js").write_text(f'module.exports = "{word}";')
        needs = {"@playwright/test": "file:playwright.tgz", "word": "file:word"}
        (own / "package.json").write_text(json.dumps({"devDependencies": needs}))
        packages.npm(own, "install", "--package-lock-only")
        outcome, said = await job_of(house, own, word)
        assert outcome.error is None, said
        assert f"WORD {word}" in said


@pytest.mark.parametrize("allowed", [False, True])
async def test_scripts_of_packages_run_only_where_the_queue_says_so(
    house: House, tmp_path: Path, allowed: bool
) -> None:
    folder = packages.shop(house.root / "shop", scripts={"install": f"touch {tmp_path / 'ran'}"})
    house.settings = AppwrightSettings(npm_ci=True, npm_scripts=allowed)
    outcome, said = await job_of(house, folder, "job")
    assert outcome.error is None, said
    assert (tmp_path / "ran").exists() is allowed


async def test_the_projects_own_scripts_do_not_run_where_its_files_are_not(house: House, tmp_path: Path) -> None:
    folder = packages.shop(house.root / "shop", scripts={"install": f"touch {tmp_path / 'ran'}"})
    about = json.loads((folder / "package.json").read_text())
    own = {"install": "exit 3", "postinstall": "node scripts/setup.js", "prepare": "exit 4"}
    (folder / "package.json").write_text(json.dumps({**about, "scripts": own}))
    house.settings = AppwrightSettings(npm_ci=True, npm_scripts=True)
    outcome, said = await job_of(house, folder, "job")
    assert outcome.error is None, said
    assert (tmp_path / "ran").exists()


async def test_what_one_job_says_to_npm_does_not_change_what_all_get(house: House, shop: Path) -> None:
    said = {"npm_config_dry_run": "true", "npm_config_omit": "dev", "NODE_OPTIONS": "--no-warnings", "PATH": "/nowhere"}
    outcome, printed = await job_of(house, shop, "first", env=said)
    assert outcome.error is None, printed
    outcome, printed = await job_of(house, shop, "second")
    assert outcome.error is None, printed
    assert "npm ci" not in printed
    assert len(kept(house)) == 1


async def test_an_installation_in_which_nothing_is_is_not_kept(house: House, own: Path) -> None:
    (own / ".npmrc").write_text("dry-run=true\n")
    with pytest.raises(Rejected, match=r"installed nothing of what package-lock\.json names: .*\.npmrc"):
        await job_of(house, own, "job")
    assert kept(house) == []


async def test_another_node_gets_modules_of_its_own(house: House, shop: Path, tmp_path: Path) -> None:
    for at in ("one", "two"):
        (tmp_path / at).mkdir()
        real = tools.find_node(AppwrightSettings(), os.environ.get("PATH"))
        (tmp_path / at / "node").write_text(f'#!/bin/sh\nexec "{real}" "$@"\n')
        (tmp_path / at / "node").chmod(0o755)
    keys = [npm._key(shop, AppwrightSettings(), tmp_path / at / "node") for at in ("one", "one", "two")]
    assert keys[0] == keys[1] != keys[2]
    os.utime(tmp_path / "one" / "node", (1, 1))
    assert npm._key(shop, AppwrightSettings(), tmp_path / "one" / "node") != keys[0], "it is a newer one"


@pytest.mark.parametrize(("name", "mib"), [("package.json", 1), (".npmrc", 1), ("package-lock.json", 16)])
async def test_files_that_the_server_would_not_survive_reading_are_refused(
    house: House, own: Path, name: str, mib: int
) -> None:
    with (own / name).open("ab") as file:
        file.truncate((mib << 20) + 1)
    with pytest.raises(Rejected, match=rf"{re.escape(name)} has \d+ bytes, at most {mib} MiB"):
        await job_of(house, own, "job")


async def test_a_lock_that_npm_refuses_is_the_projects_fault(house: House, own: Path) -> None:
    (own / "package.json").write_text(json.dumps({"devDependencies": {"word": "file:gone.tgz"}}))
    with pytest.raises(Rejected, match=r"npm ci cannot install what .*package-lock\.json names: .*gone\.tgz"):
        await job_of(house, own, "job")
    assert kept(house) == []


def from_registry(folder: Path, address: str) -> None:
    """Have the lock name a package of a registry."""
    lock = json.loads((folder / "package-lock.json").read_text())
    about = json.loads((folder / "package.json").read_text())
    about["devDependencies"]["word"] = lock["packages"][""]["devDependencies"]["word"] = "1.0.0"
    word = lock["packages"]["node_modules/word"]
    word["resolved"] = f"{address}/word.tgz"
    word["integrity"] = "sha512-" + "A" * 86 + "=="
    (folder / "package-lock.json").write_text(json.dumps(lock))
    (folder / "package.json").write_text(json.dumps(about))
    (folder / ".npmrc").write_text(f"registry={address}\n")


async def test_a_registry_that_cannot_be_reached_is_not_the_projects_fault(house: House, own: Path) -> None:
    from_registry(own, "http://127.0.0.1:1")
    house.settings = AppwrightSettings(npm_ci=True, env=NO_RETRIES)
    with pytest.raises(Infra, match=r"npm ci could not install .*127\.0\.0\.1:1"):
        await job_of(house, own, "job")
    assert kept(house) == []


@pytest.fixture
def silent() -> Iterator[tuple[str, socket.socket]]:
    """The address of a registry that answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", listening


def npms() -> list[psutil.Process]:
    """The processes of npm below us that live."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "npm" in " ".join(child.cmdline()):
                found.append(child)
    return found


async def test_a_stop_ends_npm_and_leaves_nothing(house: House, own: Path, silent: tuple[str, socket.socket]) -> None:
    from_registry(own, silent[0])
    request = house.request(UPLOADED, blobs={SHA256: packages.packed(own, house.root / "own.tar")})
    attempt = Attempt(request, house.context)
    connection, _ = await asyncio.wait_for(asyncio.to_thread(silent[1].accept), 60)
    programs = npms()
    assert programs
    await attempt.stop(5.0)
    outcome = await asyncio.wait_for(attempt.outcome, 30)
    connection.close()
    assert outcome.error
    assert outcome.error.type == "signal"
    await wait_until(lambda: not [one for one in programs if one.is_running() and one.status() != "zombie"], 10, "npm")
    assert kept(house) == []


async def test_a_submit_does_not_wait_for_a_long_installation(
    house: House, own: Path, silent: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(split, "NPM_S", 0.5)
    from_registry(own, silent[0])
    archive = packages.packed(own, house.root / "own.tar")
    params = AppwrightParams(test_path="tests", cwd=Blob(blob=SHA256), split="file")
    with pytest.raises(Infra, match=r"still installs .* submit again") as busy:
        await split.split(params, house.context, lambda _: archive)
    assert busy.value.retry_after_s, "and `hpcq run` tries again by itself"
    assert not list(house.context.data_dir.glob("listing-*"))


async def test_a_split_of_a_project_with_links_says_what_to_do_where_npm_takes_long(
    house: House, own: Path, silent: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npm, "LINKED_S", 0.5)
    from_registry(own, silent[0])
    lock = json.loads((own / "package-lock.json").read_text())
    lock["packages"]["node_modules/part"] = {"resolved": "part", "link": True}
    (own / "package-lock.json").write_text(json.dumps(lock))
    archive = packages.packed(own, house.root / "own.tar")
    params = AppwrightParams(test_path="tests", cwd=Blob(blob=SHA256), split="file")
    monkeypatch.setattr(npm, "CI", ("view", "word"))  # asks the registry, whatever the lock says
    with pytest.raises(Infra, match=r"takes longer than .* without a split"):
        await split.split(params, house.context, lambda _: archive)


async def test_who_waits_for_an_installation_without_an_upload_installs_nothing(house: House, own: Path) -> None:
    (own / "package.json").unlink()
    how = npm.Npm(nothing_is_run, {})
    with pytest.raises(Infra, match="removed"):
        await npm._kept(own, house.root / npm.KEPT / "key", None, house.settings, how)


async def nothing_is_run(*_: Any) -> Any:
    raise AssertionError("npm was started")


async def test_an_upload_with_modules_but_no_playwright_is_told_so(house: House, own: Path) -> None:
    (own / "node_modules").mkdir()
    (own / "node_modules" / "note").write_text("")
    with tarfile.open(house.root / "own.tar", "w") as tar:
        tar.add(own, ".")
    with pytest.raises(Rejected, match="brings a node_modules without @playwright/test"):
        await house.run(UPLOADED, blobs={SHA256: house.root / "own.tar"})


async def test_the_commit_of_a_checkout_around_the_server_is_not_that_of_an_upload(house: House, shop: Path) -> None:
    (house.root / ".git").mkdir()
    (house.root / ".git" / "HEAD").write_text("a" * 40 + "\n")
    assert (await job_of(house, shop, "one"))[0].commit is None
    assert (await job_of(house, shop, "two", commit="b" * 40))[0].commit == "b" * 40


async def test_without_npm_ci_a_job_says_in_what_its_lock_differs_from_what_is_installed(
    house: House, own: Path, tmp_path: Path
) -> None:
    there = Path(shutil.copytree(own, tmp_path / "there"))
    packages.npm(there, "ci")
    house.settings = AppwrightSettings(node_modules=there / "node_modules")
    assert "npm_ci" not in (await job_of(house, own, "same"))[1]
    newer = packages.shop(house.root / "newer", word="2.0.0")
    outcome, said = await job_of(house, newer, "other")
    assert outcome.error is None
    assert "WORD 1.0.0" in said
    (line,) = [line for line in said.splitlines() if "npm_ci" in line]
    assert "word 2.0.0, installed is 1.0.0." in line
    assert "[queues.local]" in line


async def test_an_upload_uses_the_modules_beside_the_queues_project(house: House, own: Path, tmp_path: Path) -> None:
    packages.npm(Path(shutil.copytree(own, tmp_path / "usual")), "ci")
    house.settings = AppwrightSettings(project_dir=tmp_path / "usual")
    outcome, said = await job_of(house, own, "job")
    assert outcome.error is None, said


@pytest.mark.parametrize("config", ["playwright.config.js", "appwright.config.js"])
async def test_a_queue_without_modules_says_what_to_set_in_which_file(house: House, own: Path, config: str) -> None:
    house.settings = AppwrightSettings()
    (own / "playwright.config.js").rename(own / config)
    with pytest.raises(Infra) as lacking:
        await job_of(house, own, "job")
    for word in (
        "uploaded projects bring no node_modules",
        "npm_ci = true",
        "[queues.local]",
        "config file",
        "restart",
    ):
        assert word in str(lacking.value)
    assert "AppWright" not in str(lacking.value)
    assert str(house.root) not in str(lacking.value)


@pytest.mark.parametrize(
    ("settings", "without", "kind", "words"),
    [
        ({"npm_ci": True}, "package-lock.json", Rejected, "has no package-lock.json"),
        ({"node_modules": "/nowhere"}, "", Infra, "no @playwright/test in /nowhere"),
    ],
)
async def test_who_can_mend_it_is_told_what_is_missing(
    house: House, own: Path, settings: dict[str, Any], without: str, kind: type[Exception], words: str
) -> None:
    house.settings = AppwrightSettings(**settings)
    if without:
        (own / without).unlink()
    with pytest.raises(kind, match=words):
        await job_of(house, own, "job")


def test_what_is_unused_for_long_or_not_whole_goes_when_the_queue_is_opened(tmp_path: Path) -> None:
    for name in ("old", "new", "fresh-half"):
        (tmp_path / npm.KEPT / name).mkdir(parents=True)
    os.utime(tmp_path / npm.KEPT / "old", (0, 0))
    run.clear(tmp_path)
    assert os.listdir(tmp_path / npm.KEPT) == ["new"]


def test_what_is_removed_in_part_only_does_not_pass_for_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old" / "node_modules").mkdir(parents=True)
    os.utime(tmp_path / "old", (0, 0))
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # as if the server was killed here
    npm.prune(tmp_path)
    (left,) = os.listdir(tmp_path)
    assert left.startswith(npm.FRESH)


def test_packages_for_other_systems_are_no_differences(tmp_path: Path) -> None:
    lock = {"node_modules/a": {"version": "1"}, "node_modules/mac": {"version": "1", "optional": True}}
    (tmp_path / "package-lock.json").write_text(json.dumps({"packages": {"": {}, **lock}}))
    there = tmp_path / "node_modules"
    there.mkdir()
    for installed, differences in (
        ({"node_modules/a": {"version": "1"}}, []),
        ({"node_modules/b": {"version": "2"}}, ["a 1, which is not installed", "no b, installed is 2"]),
    ):
        (there / ".package-lock.json").write_text(json.dumps({"packages": installed}))
        assert modules._differences(tmp_path, there) == differences
