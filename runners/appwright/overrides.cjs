// Makes of a project's own config that of one attempt. The file that hands both over lies in the attempt's folder, so
// whatever is relative to the config's folder is made absolute here; nothing is written into the project.
"use strict";
const path = require("node:path");
const { createRequire } = require("node:module");

const PRINTERS_AND_WRITERS = ["list", "line", "dot", "json", "junit", "null", "github", "html", "blob", "markdown"];

module.exports = function overrides(exported, job) {
  const base = exported && typeof exported === "object" && "default" in exported ? exported.default : exported;
  if (!base || typeof base !== "object") return base; // Playwright says what is wrong with it
  const folder = path.dirname(job.config);
  const near = createRequire(job.config);
  const config = anchored(base, folder);
  config.testDir = path.resolve(folder, base.testDir || ".");
  if (job.ignored?.length) config.testIgnore = ignoring(base.testIgnore, job);
  // What Playwright would have concluded from a testDir that was not given.
  if (base.respectGitIgnore === undefined && !base.testDir) config.respectGitIgnore = true;
  for (const name of ["globalSetup", "globalTeardown"]) {
    if (base[name]) config[name] = [].concat(base[name]).map((id) => script(id, folder, near));
    if (config[name]?.length === 1) config[name] = config[name][0];
  }
  if (base.webServer) config.webServer = servers(base.webServer, folder);
  if (!base.projects) config.use = used(base.use, job);
  else {
    const projects = job.list && job.heads !== null ? heads(base.projects, job.heads) : base.projects;
    config.projects = projects.map((project) => ofProject(project, base, job, folder));
  }
  config.outputDir = job.output;
  config.updateSnapshots = base.updateSnapshots ?? "none"; // else those that are missing are written into the project
  config.reporter = job.list ? [["json", { outputFile: job.json }]] : reporters(base.reporter, job, near);
  if (job.appwright) suit(config, job, near);
  return config;
};

function anchored(part, folder) {
  const found = { ...part };
  for (const name of ["testDir", "snapshotDir", "tsconfig"]) {
    if (part[name]) found[name] = path.resolve(folder, part[name]);
  }
  const template = part.snapshotPathTemplate;
  if (template && !path.isAbsolute(template) && !/^\{(testDir|snapshotDir)\}/.test(template)) {
    found.snapshotPathTemplate = folder + "/" + template;
  }
  const shot = part.expect?.toHaveScreenshot;
  if (shot?.stylePath) {
    const stylePath = [].concat(shot.stylePath).map((style) => path.resolve(folder, style));
    found.expect = { ...part.expect, toHaveScreenshot: { ...shot, stylePath } };
  }
  return found;
}

function ofProject(project, base, job, folder) {
  const found = { ...anchored(project, folder), outputDir: job.output };
  if (project.testDir && project.respectGitIgnore === undefined && base.respectGitIgnore === undefined) {
    found.respectGitIgnore = false;
  }
  if (job.ignored?.length && project.testIgnore) found.testIgnore = ignoring(project.testIgnore, job);
  if (!job.project || project.name === job.project) found.use = used(project.use, job);
  return found;
}

// Without those that others depend on: their tests run in each job of the others, and need none of their own.
function heads(projects, wanted) {
  const served = new Set(projects.flatMap(({ dependencies, teardown }) => [...(dependencies || []), teardown]));
  const own = projects.filter(({ name }) => name === wanted || !served.has(name));
  return own.length ? own.map(({ dependencies, teardown, ...project }) => project) : projects;
}

function ignoring(own, job) {
  const exactly = (file) => new RegExp(`^${file.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}$`);
  return [].concat(own ?? [], job.ignored.map(exactly));
}

function used(use, job) {
  return { ...use, ...(job.build && { buildPath: job.build }), ...(job.device && { device: job.device }) };
}

function script(id, folder, near) {
  const local = path.resolve(folder, id);
  return require("node:fs").existsSync(local) ? local : near.resolve(id);
}

function servers(given, folder) {
  const anchor = (server) => ({ ...server, cwd: path.resolve(folder, server.cwd || ".") });
  return Array.isArray(given) ? given.map(anchor) : anchor(given);
}

// Those of the project itself (AppWright's fetches videos, and has to come before what writes them down), and ours.
// Playwright's own either print, of which one is enough, or write into the project.
function reporters(given, job, near) {
  const all = typeof given === "string" ? [[given]] : (given || []).map((one) => [].concat(one));
  const own = all.filter(([name]) => !PRINTERS_AND_WRITERS.includes(name));
  return [
    ...own.map(([name, options]) => [near.resolve(name), options]),
    ["list"],
    ["json", { outputFile: job.json }],
    ["blob", { outputDir: job.blob, fileName: job.blobName }],
    [job.reporter, { begun: job.begun, events: job.events, progress: job.progress }],
  ];
}

// AppWright looks for `--project` among the words it was started with, and keeps its videos and its workers' notes in a
// folder below the current one, where those of another run would be.
function suit(config, job, near) {
  if (!process.argv.includes("--project") && config.projects?.length === 1 && config.projects[0].name) {
    process.argv.push("--project", config.projects[0].name);
  }
  try {
    const inside = near(path.join(path.dirname(near.resolve("appwright")), "utils.js"));
    if (typeof inside.basePath === "function") {
      require("node:fs").mkdirSync(job.videos, { recursive: true });
      inside.basePath = () => job.videos;
    }
  } catch {
    // a version that is built otherwise
  }
}
