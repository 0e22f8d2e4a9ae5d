"""Treatments as text and back. Equal texts give the same object, for as long as it is remembered."""

from functools import lru_cache

import orjson

from hpcq.core.job import RetryPolicy, Treatment

REMEMBERED = 10_000


@lru_cache(REMEMBERED)
def treatment_text(treatment: Treatment) -> str:
    """The JSON that stands for a treatment in the store."""
    return orjson.dumps(treatment).decode()


@lru_cache(REMEMBERED)
def treatment_of(text: str) -> Treatment:
    """The treatment that a text of the store stands for."""
    found = orjson.loads(text)
    found["resources"] = tuple((name, amount) for name, amount in found["resources"])
    found["requires"] = tuple((label, value) for label, value in found["requires"])
    found["retries"] = RetryPolicy(**found["retries"])
    return Treatment(**found)
