"""Option types that several commands share."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from hpcq.client import Filter

STATES = ("blocked", "delayed", "queued", "starting", "running", "cancelling", "succeeded", "failed", "cancelled")
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
COMPLETE_S = 1.0  # a completion that takes longer is no help


class Duration(click.ParamType[float]):
    """`90`, `1.5`, `90s`, `5m`, `1h30m`, `2d`: seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip().lower()
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            self.fail(f"{value!r} is no duration: write 90, 90s, 5m, 1h30m or 2d", param, ctx)
        if len(parts) > 1 and not all(unit for _, unit in parts):
            self.fail(f"{value!r} is no duration: a part lacks its unit (s, m, h, d)", param, ctx)
        return sum(float(number) * UNITS[unit] for number, unit in parts)


class When(click.ParamType[str]):
    """A time: RFC 3339, `2026-12-01 08:00`, `08:00` (the next), or `+` and a duration from now; as RFC 3339 UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).strip()
        now = datetime.now().astimezone()
        if text.startswith("+"):
            moment = now + timedelta(seconds=Duration().convert(text[1:], param, ctx))
        elif re.fullmatch(r"\d{1,2}:\d{2}", text):
            moment = _next(text, now, lambda: self.fail(f"{value!r} is no time of day", param, ctx))
        else:
            try:
                moment = datetime.fromisoformat(text).astimezone()
            except ValueError:
                example = now.isoformat(timespec="seconds")
                self.fail(f"{value!r} is no time: write {example}, 08:00 or +10m", param, ctx)
        return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _next(text: str, now: datetime, fail: Callable[[], Any]) -> datetime:
    hour, minute = (int(part) for part in text.split(":"))
    if hour > 23 or minute > 59:
        fail()
    moment = now.replace(tzinfo=None, hour=hour, minute=minute, second=0, microsecond=0)
    if moment <= now.replace(tzinfo=None):
        moment += timedelta(days=1)
    return moment.astimezone()


class Pair(click.ParamType[tuple[str, str]]):
    """`key=value`."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, separator, rest = str(value).partition("=")
        if not separator or not key:
            self.fail(f"{value!r} is not of the form key=value", param, ctx)
        return key, rest


class JobRef(click.ParamType[str]):
    """An id, a unique prefix of one, or a number; completed from the server's newest jobs."""

    name = "job"

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 click gives it
        incomplete: str,
    ) -> list[CompletionItem]:
        import os

        from hpcq.cli.calls import URL, token

        address = ctx.params.get("url") or os.environ.get("HPCQ_URL") or URL
        return newest_jobs(address, token(None), incomplete)


def newest_jobs(url: str, secret: str | None, incomplete: str) -> list[CompletionItem]:
    """Numbers and ids that begin like this; none when the server does not answer at once."""
    import asyncio

    from hpcq.cli.output import clean, title
    from hpcq.client import Client, ClientError

    async def ask() -> list[CompletionItem]:
        found = []
        async with asyncio.timeout(COMPLETE_S), Client(url, secret, patience_s=0) as client:
            async for job in client.jobs(limit=200):
                word = job["id"] if len(incomplete) > 7 else str(job["number"])
                if word.startswith(incomplete):
                    found.append(CompletionItem(word, help=clean(f"{job['state']}: {title(job)}")[:80]))
        return found[:50]

    try:
        return asyncio.run(ask())
    except (ClientError, TimeoutError):
        return []


JOB = JobRef()
PAIR = Pair()
DURATION = Duration()
WHEN = When()

tag_option = click.option("--tag", "tags", multiple=True, type=PAIR, metavar="K=V", help="Jobs with this tag.")


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose jobs, as the parameters that `chosen` takes."""
    for option in reversed(
        (
            click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="In this state."),
            click.option("--queue", "queues", multiple=True, help="In this queue."),
            tag_option,
            click.option("--name", help="With exactly this name."),
            click.option("--text", help="With this text in the name or the parameters."),
            click.option("--batch-key", help="With this batch key."),
            click.option("--error-type", help="That failed like this: exit, signal, timeout, oom, …"),
            click.option("--org-id", help="Of this org."),
            click.option("--finished-after", type=WHEN, help="Final since this time."),
        )
    ):
        function = option(function)
    return function


def chosen(options: dict[str, Any]) -> "Filter":
    """The filter that the options describe; takes them out of `options`."""
    from hpcq.client import Filter

    names = ("states", "queues", "name", "text", "batch_key", "error_type", "org_id", "finished_after")
    return Filter(tags=dict(options.pop("tags", ())), **{name: options.pop(name) for name in names if name in options})
