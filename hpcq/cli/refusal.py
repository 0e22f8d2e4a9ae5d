"""Whether the tests of a folder can become jobs now, and what it means when they cannot."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpcq.cli.calls import Code, code_of
from hpcq.cli.output import clean
from hpcq.cli.specs import Spec

if TYPE_CHECKING:
    from hpcq.client import Problem

UPLOADS = "uploaded "  # begins what only concerns uploaded projects


class NotRun(Exception):
    """No job was made, and that is not the command's fault: `code` says whose."""

    def __init__(self, code: Code, why: str) -> None:
        super().__init__(why)
        self.code = code


def is_split(spec: Spec) -> bool:
    """The server makes several jobs of it."""
    params = spec.get("params")
    return isinstance(params, dict) and params.get("split") == "file"


def notes_on(queues: Mapping[str, Mapping[str, Any]], options: Mapping[str, Any]) -> dict[str, str]:
    """What queues that are ready say of themselves, where that concerns us: they run commands, and perhaps no tests, or
    no uploaded ones."""
    said = {name: str(queue.get("message") or "") for name, queue in queues.items()} if options["tests"] else {}
    uploads = options["project_dir"] is not None
    return {
        name: f"{text} (`hpcq doctor`)"
        for name, text in said.items()
        if text and (uploads or not text.startswith(UPLOADS))
    }


def ready_to_split(queue: Mapping[str, Any] | None) -> None:
    """A queue that is not ready finds no tests in a folder. Raises NotRun. An unknown one the server refuses itself."""
    if queue is not None and not queue.get("ready", True):
        why = queue.get("message") or "its runner says no more"
        text = f"queue {queue['name']} is not ready: {why}; `hpcq doctor` says what mends it"
        raise NotRun(Code.NOT_ITS_FAULT, clean(text))


def refusal(problem: "Problem") -> Exception:
    """What to raise for the server's answer to our jobs: `problem` itself where the command is to blame."""
    code = code_of(problem)
    if code is Code.NOT_ITS_FAULT:
        return NotRun(code, clean(f"{problem.detail or problem.title}; see `hpcq doctor`"))
    if problem.status == 422 and code is Code.FAILED:
        return NotRun(code, clean("; ".join(error["detail"] for error in problem.errors)))
    return problem
