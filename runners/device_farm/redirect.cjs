// Loaded into every Node process of a test run on a device farm (NODE_OPTIONS --require). HPCQ_FARM says
// {"key", "hosts": {host: address}}: sessions are named by the key, and hosts are found where the settings say.
"use strict";
const http = require("node:http");
const net = require("node:net");
const tls = require("node:tls");

const { key, hosts = {} } = JSON.parse(process.env.HPCQ_FARM || "{}");
const own = (host) => Object.prototype.hasOwnProperty.call(hosts, host);

// Where: every client (https, fetch, got, axios) opens its connection by tls.connect.
const connect = tls.connect;
tls.connect = function (...given) {
  const options = typeof given[0] === "object" && given[0] !== null ? given[0] : {};
  const host = options.servername || options.host;
  if (options.socket || !own(host)) return connect.apply(this, given);
  const place = new URL(hosts[host]);
  if (place.hostname === host) return connect.apply(this, given);
  const port = Number(place.port) || (place.protocol === "https:" ? 443 : 80);
  if (place.protocol === "https:") {
    const servername = net.isIP(place.hostname) ? "" : place.hostname;
    return connect.call(this, { ...options, host: place.hostname, port, servername }, ...given.slice(1));
  }
  const socket = net.connect({ host: place.hostname, port });
  socket.encrypted = socket.authorized = true;
  socket.once("connect", () => socket.emit("secureConnect"));
  return socket;
};

// What: a new session is named by the key, and stays so when the test gives it its own title.
function named(method, host, path, text) {
  if (!key || !own(host)) return text;
  const opens = method === "POST" && /\/session$/.test(path);
  const renames = (method === "PUT" || method === "PATCH") && /\/sessions\/[^/]+$/.test(path);
  if (!opens && !renames) return text;
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    return text;
  }
  if (renames && typeof body.name === "string" && !body.name.startsWith(key)) body.name = `${key} ${body.name}`;
  if (opens) {
    const { alwaysMatch, firstMatch = [] } = body.capabilities || {};
    for (const wanted of [body.desiredCapabilities, alwaysMatch, ...firstMatch]) nameCapabilities(wanted);
  }
  return JSON.stringify(body);
}

function nameCapabilities(wanted) {
  if (!wanted) return;
  if (wanted["bstack:options"]) wanted["bstack:options"].sessionName = key;
  const lambda = wanted["lt:options"] || wanted["LT:Options"] || ("isRealMobile" in wanted ? wanted : undefined);
  if (lambda) lambda.name = key;
}

// The body of such a request is held back until it is whole, then sent with its name.
const held = Symbol("held");
const { write, end } = http.OutgoingMessage.prototype;
const sends = (request) =>
  own(request.host) && /\/(session|sessions\/[^/]+)$/.test(request.path) && ["POST", "PUT", "PATCH"].includes(request.method);

http.ClientRequest.prototype.write = function (chunk, encoding, done) {
  if (!sends(this)) return write.call(this, chunk, encoding, done);
  (this[held] ||= []).push(Buffer.from(chunk, typeof encoding === "string" ? encoding : undefined));
  const callback = typeof encoding === "function" ? encoding : done;
  if (callback) process.nextTick(callback);
  return true;
};

http.ClientRequest.prototype.end = function (chunk, encoding, done) {
  if (!sends(this) || this.headersSent) return end.call(this, chunk, encoding, done);
  const callback = [chunk, encoding, done].find((each) => typeof each === "function");
  if (chunk && typeof chunk !== "function") this.write(chunk, typeof encoding === "string" ? encoding : undefined);
  const text = named(this.method, this.host, this.path, Buffer.concat(this[held] || []).toString());
  this[held] = undefined;
  if (!text) return end.call(this, callback);
  this.setHeader("content-length", Buffer.byteLength(text));
  return end.call(this, text, callback);
};

const fetch = globalThis.fetch;
globalThis.fetch = function (input, init) {
  if (init && typeof init.body === "string") {
    const place = new URL(typeof input === "object" && "url" in input ? input.url : input);
    init = { ...init, body: named((init.method || "GET").toUpperCase(), place.hostname, place.pathname, init.body) };
  }
  return fetch.call(this, input, init);
};

// AppWright before 0.1.46 wants to upload every build anew, and takes none that is at BrowserStack already.
const Module = require("node:module");
const load = Module._load;
Module._load = function (request, ...more) {
  const found = load.call(this, request, ...more);
  const provider = /browserstack/.test(request) && found && found.BrowserStackDeviceProvider;
  if (provider && !provider[held]) takeUploaded(provider);
  return found;
};

function takeUploaded(provider) {
  provider[held] = true;
  const setup = provider.prototype.globalSetup;
  if (/bs:\/\//.test(String(setup))) return;
  provider.prototype.globalSetup = async function () {
    const { name, use } = this.project;
    if (!String(use.buildPath).startsWith("bs://")) return setup.call(this);
    process.env[`BROWSERSTACK_APP_URL_${name.toUpperCase()}`] = use.buildPath;
  };
}
