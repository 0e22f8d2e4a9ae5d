"""The public runner API. It imports nothing of hpcq; a runner imports nothing else of hpcq."""

from hpcq.plugin.errors import Infra, Rejected, RunnerError
from hpcq.plugin.runner import NoParams, Runner
from hpcq.plugin.types import (
    JSON,
    Context,
    Exit,
    Failure,
    Handle,
    Health,
    Outcome,
    Part,
    Process,
    Request,
    Slot,
    SlotView,
    Spawn,
    TestCase,
    Usage,
)

__all__ = [
    "JSON",
    "Context",
    "Exit",
    "Failure",
    "Handle",
    "Health",
    "Infra",
    "NoParams",
    "Outcome",
    "Part",
    "Process",
    "Rejected",
    "Request",
    "Runner",
    "RunnerError",
    "Slot",
    "SlotView",
    "Spawn",
    "TestCase",
    "Usage",
]
