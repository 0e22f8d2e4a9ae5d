"""Fixtures of the tests of our own runners."""

import pytest

from hpcq_runners.device_farm.api import Api
from hpcq_runners.device_farm.browserstack import BrowserStack
from hpcq_runners.device_farm.credentials import Credentials
from hpcq_runners.device_farm.settings import DeviceFarmSettings
from tests.support.fake_farm.farm import FakeFarm


@pytest.fixture
def stack(farm: FakeFarm) -> BrowserStack:
    """BrowserStack, as the fake farm plays it."""
    api = Api("BrowserStack", lambda: Credentials(farm.user, farm.key))
    return BrowserStack(api, DeviceFarmSettings.model_validate(farm.settings))
