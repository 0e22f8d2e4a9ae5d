"""Calls to a farm, over real HTTP: what each answer means, and that no error tells the credentials."""

import os
import traceback
from base64 import b64encode
from email.utils import formatdate
from pathlib import Path

import pytest

from hpcq_runners.device_farm.api import Api, FarmError, Kind, retry_after_s
from hpcq_runners.device_farm.browserstack import BrowserStack
from hpcq_runners.device_farm.credentials import Credentials, NoCredentials, find
from hpcq_runners.device_farm.farm import Plan, Session
from hpcq_runners.device_farm.lambdatest import LambdaTest
from hpcq_runners.device_farm.settings import DeviceFarmSettings
from tests.support.fake_farm.farm import FULL, FakeFarm

NAMES = ("BROWSERSTACK_USERNAME", "BROWSERSTACK_ACCESS_KEY")


def api_of(farm: FakeFarm) -> Api:
    return Api("BrowserStack", lambda: Credentials(farm.user, farm.key))


async def refusal(stack: BrowserStack) -> FarmError:
    with pytest.raises(FarmError) as caught:
        await stack.plan()
    return caught.value


async def test_the_plan_says_how_many_sessions_there_may_be_and_are(farm: FakeFarm, stack: BrowserStack) -> None:
    farm.allowed, farm.others = 7, 2
    assert await stack.plan() == Plan(allowed=7, running=2)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, "Unauthorized", "credentials"),
        (403, "no", "broken"),
        (404, "no", "gone"),
        (422, {"message": "devices are wrong"}, "refused"),
        (429, "slow down", "busy"),
        (500, {"value": {"message": FULL}}, "busy"),
        (500, "oops", "broken"),
        (503, "oops", "broken"),
        (302, "elsewhere", "broken"),
        (200, "<html>", "broken"),
        (200, {"plan": "none"}, "broken"),
    ],
)
async def test_each_answer_has_its_meaning(
    farm: FakeFarm, stack: BrowserStack, status: int, body: object, kind: Kind
) -> None:
    farm.answer("GET", "plan.json", status, body)
    assert (await refusal(stack)).kind == kind


async def test_what_the_farm_says_is_in_the_message(farm: FakeFarm, stack: BrowserStack) -> None:
    farm.answer("GET", "plan.json", 422, {"message": "devices are wrong"})
    assert str(await refusal(stack)) == "BrowserStack refused the request (422: devices are wrong)"


async def test_a_farm_that_says_how_long_to_wait_is_left_alone_for_so_long(farm: FakeFarm, stack: BrowserStack) -> None:
    farm.answer("GET", "plan.json", 429, "slow down", {"Retry-After": "40"})
    assert (await refusal(stack)).retry_after_s == 40
    again = await refusal(stack)
    assert again.kind == "busy"
    assert again.retry_after_s == pytest.approx(40, abs=5)
    assert farm.count("GET", "plan.json") == 1, "nothing is asked during the pause"


async def test_without_a_word_about_it_the_pause_grows_with_each_failure(farm: FakeFarm, stack: BrowserStack) -> None:
    farm.answer("GET", "plan.json", 503, "oops", times=8)
    waits = [(await refusal(stack)).retry_after_s or 0.0 for _ in range(8)]
    assert 5 <= waits[0] <= 10
    assert 20 <= waits[2] <= 40
    assert 150 <= waits[-1] <= 300, "and has a limit"
    await stack.plan()
    farm.answer("GET", "plan.json", 429, "slow down")
    assert 5 <= ((await refusal(stack)).retry_after_s or 0.0) <= 10, "a good answer ends the row"


def test_both_forms_of_retry_after_are_understood() -> None:
    assert retry_after_s("17") == 17
    assert retry_after_s(formatdate(4e9, usegmt=True)) == 3600, "not for ever"
    assert retry_after_s("Thu, 01 Jan 1970 00:00:00 GMT") is None
    assert retry_after_s("soon") is None
    assert retry_after_s(None) is None


async def test_a_farm_that_is_not_there_is_broken(stack: BrowserStack, farm: FakeFarm) -> None:
    nowhere = BrowserStack(api_of(farm), DeviceFarmSettings.model_validate({"api_url": "http://127.0.0.1:1"}))
    error = await refusal(nowhere)
    assert error.kind == "broken"
    assert str(error).startswith("BrowserStack cannot be reached: 127.0.0.1:1: ")


@pytest.mark.parametrize(("status", "kind"), [(401, "credentials"), (500, "broken"), (422, "refused"), (200, "broken")])
async def test_no_error_tells_the_credentials_even_if_the_farm_repeats_them(
    farm: FakeFarm, stack: BrowserStack, status: int, kind: Kind
) -> None:
    header = b64encode(f"{farm.user}:{farm.key}".encode()).decode()
    farm.answer("GET", "plan.json", status, {"message": f"bad key {farm.key} in {header}"})
    error = await refusal(stack)
    text = "".join(traceback.format_exception(error)) + repr(error) + repr(error.__context__)
    assert error.kind == kind
    assert farm.key not in text
    assert header not in text


# Sessions.


async def test_only_open_sessions_are_listed_and_can_be_closed_twice(farm: FakeFarm, stack: BrowserStack) -> None:
    first, second = farm.open_session("a-1-1 logs in"), farm.open_session("somebody else's")
    await stack.close(first)
    await stack.close(first)
    assert await stack.sessions() == [Session(second, "somebody else's")]


async def test_lambdatest_is_asked_in_its_own_words(farm: FakeFarm, tmp_path: Path) -> None:
    settings = DeviceFarmSettings.model_validate({"farm": "lambdatest", **farm.settings})
    other = LambdaTest(Api("LambdaTest", lambda: Credentials(farm.user, farm.key)), settings)
    session = farm.open_session("a-1-1")
    assert await other.plan() == Plan(allowed=5, running=1)
    assert await other.sessions() == [Session(session, "a-1-1")]
    await other.close(session)
    assert not farm.live
    (tmp_path / "app.apk").write_bytes(b"a build")
    assert (await other.upload(tmp_path / "app.apk", "app.apk", "app")).startswith("lt://")
    with pytest.raises(FarmError, match="not supported"):
        await other.upload(tmp_path / "app.apk", "app.apk", "espresso")


# Credentials.


def test_credentials_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAMES[0], "me")
    monkeypatch.setenv(NAMES[1], "secret")
    assert find(NAMES, None, "BrowserStack") == Credentials("me", "secret")


def test_credentials_come_from_a_file_if_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAMES[0], "another")
    file = tmp_path / "farm.env"
    file.write_text('# ours\nexport BROWSERSTACK_USERNAME=me\nBROWSERSTACK_ACCESS_KEY="secret"\n')
    assert find(NAMES, file, "BrowserStack") == Credentials("me", "secret")


def test_what_is_missing_is_said_with_what_mends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name in NAMES]:
        monkeypatch.delenv(name)
    with pytest.raises(NoCredentials, match="missing in the server's environment; set BROWSERSTACK_USERNAME and"):
        find(NAMES, None, "BrowserStack")
    (tmp_path / "farm.env").write_text("BROWSERSTACK_USERNAME=me\n")
    with pytest.raises(NoCredentials, match=r"BROWSERSTACK_ACCESS_KEY missing in .*farm\.env; write a line"):
        find(NAMES, tmp_path / "farm.env", "BrowserStack")
    with pytest.raises(NoCredentials, match="cannot be read: No such file"):
        find(NAMES, tmp_path / "none.env", "BrowserStack")


def test_credentials_are_not_in_their_own_repr() -> None:
    assert repr(Credentials("somebody", "secret")) == "Credentials()"
