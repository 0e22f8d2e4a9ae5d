"""Where an uploaded project's modules come from: the queue has them, or installs those of its package-lock.json."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpcq.plugin import Context, Infra, Rejected
from hpcq_runners.appwright import npm
from hpcq_runners.appwright.npm import INSTALLED, LOCK, Npm
from hpcq_runners.appwright.settings import AppwrightSettings
from hpcq_runners.appwright.tools import MODULES

NAMED = 3  # so many differences are named
GIVE = (
    'give it some by `npm_ci = true` or `node_modules = "/path/to/node_modules"` in [queues.{queue}] of the server\'s '
    "config file, then restart the server"
)


async def provide(project: Path, beside: Path, context: Context, how: Npm) -> None:
    """Lay the modules of an unpacked project that has brought none `beside` it, where Node finds them on its way up.
    Nothing is laid there where there are none. Raises Rejected, Infra."""
    settings: AppwrightSettings = context.settings
    if settings.npm_ci and npm.has_lock(project):
        found: Path | None = await npm.modules_of(project, context.data_dir, settings, how)
    else:
        found = settings.shared_modules
        differences = await asyncio.to_thread(_differences, project, found) if found else []
        if differences and how.output is not None:
            npm.say(how.output, _told(differences, str(found), context.queue))
    if found is not None and found.is_dir() and found.parent != project:
        (beside / MODULES).symlink_to(found)


def lack(project: Path, context: Context, *, brought: bool) -> Rejected | Infra:
    """Why an unpacked project finds no Playwright, and what mends it. `brought`: it came with modules."""
    settings: AppwrightSettings = context.settings
    shared = settings.shared_modules
    if brought:
        return Rejected(f"the uploaded project brings a {MODULES} without @playwright/test: leave that folder out")
    if settings.npm_ci and npm.has_lock(project):
        return Rejected(f"the uploaded project's {LOCK} names no @playwright/test: `npm install -D @playwright/test`")
    if shared is not None:
        why = f"there is no @playwright/test in {shared}, which uploaded projects use here"
        return Infra(f"{why}: run `npm ci` beside it, or correct node_modules in [queues.{context.queue}]")
    if settings.npm_ci:
        return Rejected(f"the uploaded project has no {LOCK}, which npm_ci installs from: `npm install` makes it")
    give = GIVE.format(queue=context.queue)
    return Infra(f"uploaded projects bring no {MODULES}, and the queue {context.queue} has none: {give}")


def uploads_lack(context: Context) -> str:
    """What a queue lacks to run uploaded projects, as a note for its health; empty: nothing."""
    settings: AppwrightSettings = context.settings
    if settings.npm_ci or settings.shared_modules is not None:
        return ""
    return f"uploaded tests would lack {MODULES}: set npm_ci = true in [queues.{context.queue}] of the config, restart"


# What is installed, and what the project's own lock says.


def _told(differences: list[str], found: str, queue: str) -> str:
    more = f"; and {len(differences) - NAMED} more" if len(differences) > NAMED else ""
    return (
        f"the tests run with {found}, which is not what the project's {LOCK} names: "
        f"{'; '.join(differences[:NAMED])}{more}. `npm_ci = true` in [queues.{queue}] installs what it names."
    )


def _differences(project: Path, modules: Path) -> list[str]:
    """In which versions they differ; nothing where either is not known. Those first that both have."""
    wanted, there = npm.packages(npm.read_lock(project / LOCK)), npm.packages(npm.read_lock(modules / INSTALLED))
    if not wanted or not there:
        return []
    found = sorted(_compared(wanted, there))
    return [text for _, text in found]


def _compared(wanted: dict[str, Any], there: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """(kind, sentence) of each difference."""
    for place in {*wanted, *there}:
        name = place.removeprefix(f"{MODULES}/")
        ours, theirs = (_version(packages.get(place)) for packages in (wanted, there))
        if not place.startswith(MODULES) or ours == theirs:
            continue
        if ours and theirs:
            yield 0, f"{name} {ours}, installed is {theirs}"
        elif ours and not npm.may_be_missing(wanted[place]):
            yield 1, f"{name} {ours}, which is not installed"
        elif theirs:
            yield 2, f"no {name}, installed is {theirs}"


def _version(package: Any) -> str:
    return str(package.get("version") or "") if package else ""
