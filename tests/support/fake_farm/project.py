"""A project of plain Playwright whose tests open sessions at BrowserStack, with the requests that AppWright makes."""

from pathlib import Path

from tests.support import playwright

CONFIG = """\
module.exports = { timeout: 0,
  projects: [
    { name: "android-bs", use: { device: { provider: "browserstack", name: "Google Pixel 8", osVersion: "14.0" } } },
  ],
};
"""
DEVICE = """\
const https = require("node:https");
const path = require("node:path");
const base = require("@playwright/test");
const { BROWSERSTACK_USERNAME: user, BROWSERSTACK_ACCESS_KEY: key } = process.env;
const auth = "Basic " + Buffer.from(`${user}:${key}`).toString("base64");

// As WebDriver's client: https.request, and credentials only for the first request.
function hub(method, where, body) {
  const text = body ? JSON.stringify(body) : "";
  const headers = { "Content-Type": "application/json; charset=utf-8", "Content-Length": Buffer.byteLength(text) };
  if (where === "/session") headers.Authorization = auth;
  return new Promise((resolve, reject) => {
    const request = https.request(`https://hub.browserstack.com/wd/hub${where}`, { method, headers }, (answer) => {
      let said = "";
      answer.on("data", (part) => (said += part)).on("end", () => {
        if (answer.statusCode < 300) return resolve(JSON.parse(said).value);
        let message = said;
        try { message = JSON.parse(said).value.message; } catch {}
        reject(new Error(`Failed to create session.\\n${message}`));
      });
    });
    request.on("error", reject);
    if (text) request.write(text);
    request.end();
  });
}

// As AppWright: fetch.
async function rename(id, name) {
  const url = `https://api-cloud.browserstack.com/app-automate/sessions/${id}.json`;
  const headers = { Authorization: auth, "Content-Type": "application/json" };
  const answer = await fetch(url, { method: "PUT", headers, body: JSON.stringify({ name }) });
  if (!answer.ok) throw new Error(`PUT ${url}: ${answer.status}`);
}

exports.expect = base.expect;
exports.test = base.test.extend({
  device: async ({}, use, testInfo) => {
    const { device, buildPath } = testInfo.project.use;
    const wanted = {
      "bstack:options": {
        deviceName: device.name,
        osVersion: device.osVersion,
        buildName: `${path.basename(process.cwd())} android`,
        sessionName: `${path.basename(process.cwd())} android test`,
      },
      "appium:app": buildPath || process.env.HPCQ_APP_URL,
    };
    const body = { capabilities: { alwaysMatch: wanted, firstMatch: [{}] }, desiredCapabilities: wanted };
    const { sessionId } = await hub("POST", "/session", body);
    await rename(sessionId, testInfo.title);
    const elements = `/session/${sessionId}/elements`;
    await use({ find: (text) => hub("POST", elements, { using: "-android uiautomator", value: text }) });
    await hub("DELETE", `/session/${sessionId}`);
  },
});
"""
HEAD = """\
const farm = require("../device.js");
const fs = require("node:fs");
const keep = () => fs.writeFileSync(`${process.env.HPCQ_ARTIFACTS}/env.txt`, JSON.stringify(process.env));
"""
SPECS = {
    "login": 'farm.test("logs in", async ({ device }) => { expect(await device.find("Login")).toHaveLength(1); });',
    "missing": 'farm.test("finds", async ({ device }) => { expect(await device.find("Missing")).toHaveLength(1); });',
    "lasts": 'farm.test("lasts", async ({ device }) => { await new Promise((done) => setTimeout(done, 600000)); });',
    "prints": """farm.test("prints", async ({ device }) => {
        console.log(process.env.BROWSERSTACK_ACCESS_KEY);
        keep();
        throw new Error(`with ${process.env.BROWSERSTACK_ACCESS_KEY}`);
    });""",
    "titled": """farm.test(`with ${process.env.BROWSERSTACK_ACCESS_KEY}`, async ({}) => {
        throw new Error("as it should");
    });""",
    "reveals": """farm.test("reveals", async ({}) => {
        keep();
        console.log(`the key is ${process.env.BROWSERSTACK_ACCESS_KEY} indeed`);
        await new Promise((done) => setTimeout(done, 600000));
    });""",
    "leaves": """farm.test("leaves", async ({ device }) => {
        process.kill(process.pid, "SIGKILL");
        await new Promise(() => {});
    });""",
}


def make(folder: Path) -> Path:
    """The project in `folder`: `tests/<name>.spec.js` for each of SPECS."""
    playwright.project(folder, CONFIG, **{name: HEAD + text for name, text in SPECS.items()})
    (folder / "device.js").write_text(DEVICE, encoding="utf-8")
    return folder
