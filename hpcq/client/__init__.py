"""The HTTP client: what the command line, the acceptance suite and anybody's Python program talk to a server with.

    async with Client("http://127.0.0.1:8000") as client:
        job = await client.submit({"queue": "compute", "params": {"operation": "matmul", "size": 512}})
        (job,) = await client.wait([job["id"]])

It imports nothing of the server, and runs wherever aiohttp does.
"""

from hpcq.client.client import Client
from hpcq.client.errors import Ambiguous, ClientError, Interrupted, NoServer, NotFound, Problem
from hpcq.client.shapes import FINAL, Event, FieldError, Filter, Job, Summary

__all__ = [
    "FINAL",
    "Ambiguous",
    "Client",
    "ClientError",
    "Event",
    "FieldError",
    "Filter",
    "Interrupted",
    "Job",
    "NoServer",
    "NotFound",
    "Problem",
    "Summary",
]
