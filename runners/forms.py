"""Queues that take two kinds of jobs: a command, or AppWright tests."""

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from hpcq_runners.appwright.params import AppwrightParams
from hpcq_runners.command_params import CommandParams

# Not names of fields: an error's place must not be taken for one of the body's.
COMMAND, TESTS = "<command>", "<tests>"


def form_of(value: Any) -> str:
    """Which of the two a body is: tests name their path; anything else is looked at as a command."""
    found = "test_path" in value if isinstance(value, dict) else isinstance(value, AppwrightParams)
    return TESTS if found else COMMAND


CommandOrTests = Annotated[
    Annotated[CommandParams, Tag(COMMAND)] | Annotated[AppwrightParams, Tag(TESTS)], Discriminator(form_of)
]
