// Writes down which tests a run is going to make, and after each how far it is.
"use strict";
const fs = require("node:fs");

class Notes {
  constructor(options) {
    this.options = options;
    this.done = 0;
    this.total = 0;
  }

  printsToStdio() {
    return false;
  }

  onBegin(config, suite) {
    const tests = (suite || config).allTests(); // inside of Playwright the suite comes alone
    this.total = tests.length;
    const begun = tests.map((test) => {
      const { file, line, column } = test.location;
      return { id: test.id, project: test.titlePath()[1] || "", file, line, column, title: test.title };
    });
    fs.writeFileSync(this.options.begun, JSON.stringify(begun));
    this.tell("");
  }

  onTestBegin(test) {
    this.tell(test.title);
  }

  onTestEnd(test, result) {
    const again = test.results.length <= test.retries && !["passed", "skipped", "interrupted"].includes(result.status);
    if (!again || test.ok()) this.done = Math.min(this.done + 1, this.total);
    this.tell(test.title);
  }

  tell(message) {
    try {
      const line = JSON.stringify({ done: this.done, total: this.total, message: message.slice(0, 300) });
      fs.appendFileSync(this.options.progress, line + "\n");
    } catch {
      // news only
    }
  }
}

module.exports = Notes;
