"""Makes the samples of Playwright's JSON report: `python -m tests.support.report_samples`, after a change of version.

The project's folder is written as /project in them.
"""

import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support.playwright import node, playwright, project

SAMPLES = Path(__file__).parents[1] / "unit" / "runners" / "samples"
MIXED = """
test("passes @smoke", async () => { console.log("\\u001b[31mred\\u001b[0m"); });
test("fails", async () => { expect("a").toBe("b"); });
test("is flaky", async ({}, info) => {
  await info.attach("note", { body: "x" });
  expect(info.retry).toBeGreaterThan(0);
});
test.skip("is skipped", async () => {});
test("fails as expected", async () => { test.fail(); expect(1).toBe(2); });
test("passes unexpectedly", async () => { test.fail(); });
test.describe("outer", () => {
  test.describe("inner", () => { test("is deep", async () => {}); });
  test.describe.serial("in a row", () => {
    test("breaks", async () => { throw new Error("broken"); });
    test("comes after", async () => {});
  });
});
"""
HANGS = """
test("first", async () => {});
test("second", async () => { console.log("now"); await new Promise(() => {}); });
test("third", async () => {});
"""
BOTH_AT_ONCE = """
const fs = require("fs"), path = require("path");
test("is under way", async ({}, info) => {
  fs.writeFileSync(path.join(info.config.rootDir, "begun"), "");
  await new Promise(() => {});
});
test("fails", async ({}, info) => {
  while (!fs.existsSync(path.join(info.config.rootDir, "begun"))) await new Promise((r) => setTimeout(r, 20));
  expect(1).toBe(2);
});
test("waits", async () => {});
"""
PARALLEL = "module.exports = { fullyParallel: true };"
TWO_PROJECTS = 'module.exports = { projects: [{ name: "old" }, { name: "new" }] };'


def report(config: str, spec: str, *args: str, interrupt: bool = False) -> str:
    """What a run writes; `interrupt`: it gets a SIGINT once a test has printed `now`."""
    with tempfile.TemporaryDirectory() as name:
        folder = project(Path(name, "project"), config, one=spec)
        cli = folder / "node_modules" / "@playwright" / "test" / "cli.js"
        env = {**os.environ, "PLAYWRIGHT_JSON_OUTPUT_NAME": str(Path(name, "report.json"))}
        words = [str(node()), str(cli), "test", "--reporter=json,line", "--workers=1", *args]
        with subprocess.Popen(words, cwd=folder, env=env, stdout=subprocess.PIPE, text=True) as run:
            assert run.stdout is not None
            for line in run.stdout:
                if interrupt and "now" in line:
                    time.sleep(0.1)
                    run.send_signal(signal.SIGINT)
        text = Path(name, "report.json").read_text(encoding="utf-8")
        for place in (folder, playwright().parent):
            text = text.replace(str(place), "/project")
        return json.dumps(json.loads(text), indent=1) + "\n"


def main() -> None:
    """Write all of them."""
    SAMPLES.mkdir(exist_ok=True)
    made = {
        "mixed": report("module.exports = {};", MIXED, "--retries=1"),
        "projects": report(TWO_PROJECTS, 'test("in both", async () => {});'),
        "unimportable": report("module.exports = {};", 'require("./not-there");'),
        "max-failures": report(PARALLEL, BOTH_AT_ONCE, "--workers=2", "--max-failures=1"),
        "global-timeout": report("module.exports = { globalTimeout: 2000 };", HANGS),
        "interrupted": report("module.exports = {};", HANGS, interrupt=True),
    }
    for name, text in made.items():
        (SAMPLES / f"playwright-{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
