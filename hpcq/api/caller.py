"""Who is asking."""

from dataclasses import dataclass
from typing import Literal

from aiohttp import web

Role = Literal["read", "submit", "admin"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Every handler takes its org from here. `org` None: all of them."""

    org: str | None
    role: Role


SAME_USER = Caller(org=None, role="admin")
CALLER = web.RequestKey("caller", Caller)
