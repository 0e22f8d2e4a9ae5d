"""What `hpcq run` shows of many jobs: where they go, a line for each change, how each ended, the sums."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from hpcq.cli.output import COLOURS, clean, duration, many, silence, title
from hpcq.cli.queues import unserved
from hpcq.cli.report import times
from hpcq.cli.watch import Change

if TYPE_CHECKING:
    from hpcq.client import Job

WORDS = {
    "blocked": "PENDING",
    "delayed": "PENDING",
    "queued": "PENDING",
    "starting": "STARTING",
    "running": "RUNNING",
    "cancelling": "CANCELLING",
    "succeeded": "SUCCESS",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
}
FEW = 50  # of more jobs only the failures get a line of their own
NAME = 32


class Display:
    """Writes lines to stdout, or to stderr where stdout is for JSON. Times are seconds since the jobs were sent."""

    def __init__(self, *, stderr: bool) -> None:
        self._err = stderr
        self._names: dict[str, str] = {}
        self._sent = datetime.now().astimezone()
        self._last: dict[str, str] = {}

    def header(
        self,
        url: str,
        known: Mapping[str, dict[str, Any]],
        wanted: Mapping[str, int],
        *,
        split: bool = False,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """Time, server, and the queues that the jobs go to, with their slots; says when nobody serves one, or what
        else there is to say of it. How many jobs a folder becomes (`split`) is known only once they are sent."""
        count = "a job for each file" if split else many(sum(wanted.values()), "job")
        self._line(f"{self._sent:%Y-%m-%d %H:%M:%S}  {clean(url)}  {count}")
        for name, number in wanted.items():
            jobs = "" if split else f"{many(number, 'job')}, "
            queue = known.get(name)
            if queue is None:
                self._line(clean(f"  {name}: {many(number, 'job')}; there is no such queue"))
                continue
            self._line(clean(f"  {name}: {jobs}{many(int(queue['slots']), 'slot')}"))
            if why := unserved(queue) or (notes or {}).get(name):
                self._line(click.style(clean(f"  {name}: {why}"), fg="yellow"))

    def queue(self, queue: Mapping[str, Any]) -> None:
        """A queue that our jobs stand in was changed meanwhile."""
        why = unserved(queue)
        served = f"open, {many(int(queue['slots']), 'slot')}"
        self._line(click.style(clean(f"  {queue['name']}: {why or served}"), fg="yellow" if why else "green"))

    def sent(self, ids: Sequence[str], specs: Sequence[Mapping[str, Any]], *, split: bool = False) -> None:
        """The jobs are on the server's disk."""
        if split:
            self._line(f"  {many(len(ids), 'job')}")
        self._names = {job_id: clean(title(spec))[:NAME] for job_id, spec in zip(ids, specs, strict=True)}
        if len(ids) <= FEW:
            for job_id in ids:
                self._event(job_id, "SENT", "cyan", 0.0)

    def change(self, change: Change) -> None:
        """A line for a job's new state."""
        word = WORDS.get(change.state, change.state.upper())
        if self._last.get(change.job_id) == word:
            return
        self._last[change.job_id] = word
        if len(self._names) <= FEW or change.state == "failed":
            since_s = (datetime.fromisoformat(change.at) - self._sent).total_seconds()
            self._event(change.job_id, word, COLOURS.get(change.state, "white"), since_s)

    def results(self, jobs: "Sequence[Job]", elapsed_s: float) -> None:
        """Each result, if they are few, and the sums: seconds of the jobs, of us, and how many ended how."""
        self._line("")
        if len(jobs) <= FEW and not self._err:
            for job in jobs:
                self._result(job)
            self._line("")
        good = sum(job["state"] == "succeeded" for job in jobs)
        figures = [f"{name.removesuffix('_s')} {duration(seconds)}" for name, seconds in times(jobs).items()]
        self._line(", ".join([*figures, f"elapsed {duration(elapsed_s)}"]))
        colour = "green" if good == len(jobs) else "red"
        others = Counter(job["state"] for job in jobs if job["state"] != "succeeded")
        counts = [f"{good} of {len(jobs)} succeeded", *(f"{count} {state}" for state, count in others.items())]
        self._line(click.style(", ".join(counts), fg=colour))

    def say(self, text: str) -> None:
        """A remark between the lines."""
        self._line(clean(text))

    def _result(self, job: "Job") -> None:
        """What it has to say; where, how long, when, and which it was."""
        word = WORDS.get(job["state"], job["state"]).ljust(10)
        said = clean(message(job))
        self._line(
            f"{click.style(word, fg=COLOURS.get(job['state']))}  {clean(title(job))[:NAME]}{': ' if said else ''}{said}"
        )
        ended = (job.get("finished_at") or "-")[11:19]
        place = f"{job['queue']} {job.get('slot') or '-'}"
        self._line(clean(f"            {place}  {duration(job.get('run_s'))}  {ended}  {job['id']}"))

    def _event(self, job_id: str, word: str, colour: str, since_s: float) -> None:
        shown = click.style(word.ljust(10), fg=colour)
        self._line(f"{max(0.0, since_s):8.2f}s  {shown}  {self._names.get(job_id, '')}  {job_id}")

    def _line(self, text: str) -> None:
        """Not by click.echo, which would write through the spinner that may stand on the terminal."""
        stream = sys.stderr if self._err else sys.stdout
        try:
            stream.write((text if stream.isatty() else click.unstyle(text)) + "\n")
            stream.flush()
        except OSError:  # the jobs go on, and so do we: the exit code and the files are still wanted
            silence(stream)


def message(job: "Job") -> str:
    """What a job has to say for itself: its error, its own message, its value, the last line that it printed."""
    if error := job.get("error"):
        return f"{error.get('type')}: {error.get('message')}"
    result = job.get("result")
    if not isinstance(result, dict):
        return "" if result is None else str(result)
    for name in ("message", "value"):
        if result.get(name) is not None:
            return str(result[name])
    if "exit_code" in result:
        lines = str(result.get("tail") or "").strip().splitlines()
        return lines[-1] if lines else ""
    return ", ".join(f"{name} {value}" for name, value in result.items() if isinstance(value, int | float))
