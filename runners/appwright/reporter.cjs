// Writes down which tests a run is going to make, which begin and how each ends: all that is left of a run that is
// killed. And after each how far it is.
"use strict";
const fs = require("node:fs");

class Notes {
  constructor(options) {
    this.options = options;
    this.done = 0;
    this.total = 0;
    this.several = false; // projects, whose names are then a part of the tests' own
  }

  onConfigure(config) {
    this.several = new Set(config.projects.map(({ name }) => name)).size > 1;
  }

  printsToStdio() {
    return false;
  }

  onBegin(config, suite) {
    const tests = (suite || config).allTests(); // inside of Playwright the suite comes alone
    if (suite) this.onConfigure(config);
    this.total = tests.length;
    const begun = tests.map((test) => {
      const { file, line, column } = test.location;
      const [, project, , ...titles] = test.titlePath();
      const name = (this.several && project ? [`[${project}]`, ...titles] : titles).join(" › ");
      return { id: test.id, project: project || "", file, line, column, title: test.title, name };
    });
    fs.writeFileSync(this.options.begun, JSON.stringify(begun));
    this.tell("");
  }

  onTestBegin(test) {
    this.note({ id: test.id });
    this.tell(test.title);
  }

  onTestEnd(test, result) {
    const error = result.errors.map(({ message }) => message || "").join("\n\n");
    if (result.status !== "interrupted") {
      this.note({ id: test.id, ended: test.outcome(), retry: result.retry, ms: result.duration, error });
    }
    const again = test.results.length <= test.retries && !["passed", "skipped", "interrupted"].includes(result.status);
    if (!again || test.ok()) this.done = Math.min(this.done + 1, this.total);
    this.tell(test.title);
  }

  tell(message) {
    append(this.options.progress, { done: this.done, total: this.total, message: message.slice(0, 300) });
  }

  note(event) {
    append(this.options.events, event);
  }
}

function append(file, line) {
  try {
    fs.appendFileSync(file, JSON.stringify(line) + "\n");
  } catch {
    // the tests themselves matter more
  }
}

module.exports = Notes;
