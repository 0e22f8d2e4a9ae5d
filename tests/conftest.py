"""What holds for all tests."""

import asyncio
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.fake_farm.farm import FakeFarm

# No test sees what the shell of whoever runs it is set to.
for _name in [name for name in os.environ if name.startswith("HPCQ_")]:
    del os.environ[_name]

# How long one example takes says nothing on a busy machine; a failing one is printed so that it can be repeated.
settings.register_profile("hpcq", deadline=None, print_blob=True)
settings.load_profile("hpcq")

# Else pytest-asyncio asks for the current loop, thereby makes one, and never closes it: a warning, some time later.
asyncio.set_event_loop(None)


@pytest.fixture
def farm() -> Iterator[FakeFarm]:
    """A device farm that is up."""
    with FakeFarm() as farm:
        yield farm
