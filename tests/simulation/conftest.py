"""Limits that only large numbers reach are low here, so that small numbers reach them."""

from collections.abc import Iterator

import pytest

from hpcq.core import book, groups, scheduler


@pytest.fixture(autouse=True, scope="module")
def low_limits() -> Iterator[None]:
    """Dependents told in a round; treatments, groups and tombstones that are borne before they are swept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduler, "FAN_OUT", 3)
        patch.setattr(book, "KINDS", 4)
        patch.setattr(groups, "SWEEP", 6)
        patch.setattr(groups, "SLACK", 2)
        yield
