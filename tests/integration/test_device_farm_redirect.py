"""What is loaded into Node: sessions get the attempt's name and hosts the settings' addresses, whatever asks."""

import json
import os
import subprocess

from hpcq_runners.device_farm.api import Api
from hpcq_runners.device_farm.browserstack import BrowserStack
from hpcq_runners.device_farm.credentials import Credentials
from hpcq_runners.device_farm.lambdatest import LambdaTest
from hpcq_runners.device_farm.settings import DeviceFarmSettings
from hpcq_runners.device_farm.test_attempt import REDIRECT
from tests.support import playwright
from tests.support.fake_farm.farm import FakeFarm, Upload

KEY = "a1b2c3d4-7-1"
ASK = """\
const https = require("node:https");
const auth = "Basic " + Buffer.from(process.env.AUTH).toString("base64");
function ask(method, url, parts, done = JSON.parse) {
  return new Promise((resolve, reject) => {
    const request = https.request(url, { method, headers: { Authorization: auth } }, (answer) => {
      let said = "";
      answer.on("data", (part) => (said += part)).on("end", () => resolve(done(said)));
    });
    request.on("error", reject);
    for (const part of parts.slice(0, -1)) request.write(part);
    request.end(parts[parts.length - 1]);
  });
}
const open = (wanted) => JSON.stringify({ capabilities: { alwaysMatch: wanted, firstMatch: [{}] } });
const headers = { Authorization: auth, "Content-Type": "application/json" };
"""


def node(farm: FakeFarm, script: str, kind: type[BrowserStack] | type[LambdaTest] = BrowserStack) -> str:
    """Run a script as a test of an attempt; what it printed."""
    api = Api(kind.title, lambda: Credentials(farm.user, farm.key))
    hosts = kind(api, DeviceFarmSettings.model_validate({**farm.settings, "upload_url": farm.url})).hosts()
    env = {"HPCQ_FARM": json.dumps({"key": KEY, "hosts": hosts}), "AUTH": f"{farm.user}:{farm.key}"}
    done = subprocess.run(
        [playwright.node(), "--require", str(REDIRECT), "-e", f"{ASK}(async () => {{ {script} }})();"],
        env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_session_of_browserstack_is_named_however_its_request_is_sent(farm: FakeFarm) -> None:
    host = "https://hub.browserstack.com/wd/hub/session"
    farm.uploads.append(upload := _upload())
    wanted = f'{{ "bstack:options": {{ sessionName: "mine" }}, "appium:app": "{upload.url}" }}'
    node(
        farm,
        f"""
        const text = open({wanted});
        await ask("POST", "{host}", [text]);
        await ask("POST", "{host}", [text.slice(0, 9), text.slice(9), undefined]);
        await (await fetch("{host}", {{ method: "POST", headers, body: text }})).json();
        """,
    )
    assert [session.was_named for session in farm.sessions.values()] == [KEY] * 3


def test_a_session_of_lambdatest_is_named_and_its_title_follows(farm: FakeFarm) -> None:
    farm.uploads.append(upload := _upload())
    api = "https://mobile-api.lambdatest.com/mobile-automation/api/v1/sessions"
    node(
        farm,
        f"""
        const text = open({{ isRealMobile: true, build: "mine", app: "{upload.url}" }});
        const hub = "https://mobile-hub.lambdatest.com/wd/hub/session";
        const {{ value }} = await ask("POST", hub, [text]);
        const body = JSON.stringify({{ name: "logs in" }});
        await fetch("{api}/" + value.sessionId, {{ method: "PATCH", headers, body }});
        """,
        LambdaTest,
    )
    [session] = farm.sessions.values()
    assert (session.was_named, session.name) == (KEY, f"{KEY} logs in")


def test_other_requests_arrive_as_they_were_sent(farm: FakeFarm) -> None:
    said = node(
        farm,
        f"""
        const told = {{ name: "mine" }};
        await ask("PUT", "https://api-cloud.browserstack.com/app-automate/other", [JSON.stringify(told)], String);
        const plain = await fetch("{farm.url}/app-automate/sessions/x.json", {{ method: "PUT", headers, body: "[1]" }});
        console.log(plain.status);
        """,
    )
    assert [asked.body for asked in farm.asked] == [{"name": "mine"}, [1]]
    assert said == "404\n"


def test_without_an_attempt_nothing_is_changed() -> None:
    done = subprocess.run(
        [playwright.node(), "--require", str(REDIRECT), "-e", "console.log(typeof fetch)"],
        env={**os.environ, "HPCQ_FARM": ""}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == "function\n"


def _upload() -> Upload:
    return Upload("bs://1", "app", "app.apk", "")
