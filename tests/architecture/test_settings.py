"""A setting that can be set does something."""

import ast

import pytest
from pydantic import BaseModel

from hpcq.config import Jobs, Limits, Queue, Retention, Server
from tests.support.sources import sources

CODE = [source for source in sources("hpcq") if not str(source).startswith("hpcq/config")]


@pytest.fixture(scope="module")
def read() -> set[str]:
    """The names of all attributes that our code reads."""
    config = [node for source in sources("hpcq") if str(source) == "hpcq/config.py" for node in source.nodes()]
    nodes = [*config, *(node for source in CODE for node in source.nodes())]
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}


@pytest.mark.parametrize("part", [Server, Jobs, Limits, Retention, Queue])
def test_every_setting_is_read_somewhere(part: type[BaseModel], read: set[str]) -> None:
    unread = set(part.model_fields) - read
    assert not unread, "remove the setting, or let the code obey it"
