// `node --require` this in every process of an AppWright run on a device.
//
// AppWright dials 127.0.0.1:4723, whichever Appium listens there: each attempt has one of its own. And what Appium is
// to do is changed on its way:
// - AppWright asks for `fullReset`, which uninstalls the app after every test: without it Appium clears the app's data
//   instead, which is as fresh, and the build that hpcq has installed stays.
// - Appium would take the first of all devices if none is named: versions of AppWright up to 0.1.45 name no emulator.
// - It would look for devices at port 5037, wherever the adb server of the queue is, and end that server when a device
//   does not answer, which all others would feel.
// - Its driver would lead a port to the device that two drivers may find free at the same time.
"use strict";
const net = require("node:net");

const OURS = Number(process.env.HPCQ_APPIUM_PORT);
const THEIRS = 4723;
const LOCAL = /^(127\.0\.0\.1|localhost|::1)?$/;

function redirected(options) {
  const theirs = options && typeof options === "object" && Number(options.port) === THEIRS;
  return theirs && LOCAL.test(options.host || options.hostname || "") ? { ...options, port: OURS } : options;
}

// What a test has said itself stands.
function bound(wanted) {
  const { ANDROID_ADB_SERVER_PORT, ANDROID_SERIAL, HPCQ_SYSTEM_PORT } = process.env;
  const ours = {
    ...(ANDROID_SERIAL && { "appium:udid": ANDROID_SERIAL }),
    ...(ANDROID_ADB_SERVER_PORT && { "appium:adbPort": Number(ANDROID_ADB_SERVER_PORT) }),
    ...(HPCQ_SYSTEM_PORT && { "appium:systemPort": Number(HPCQ_SYSTEM_PORT) }),
    "appium:suppressKillServer": true,
  };
  const said = Object.entries(wanted).filter(([, value]) => value !== undefined);
  const kept = { ...ours, ...Object.fromEntries(said) };
  if (kept["appium:fullReset"]) kept["appium:fullReset"] = false;
  return kept;
}

if (OURS) {
  const connect = net.Socket.prototype.connect;
  net.Socket.prototype.connect = function (...words) {
    // net.connect() hands over one list of normalised arguments, others call it as they like
    if (Array.isArray(words[0])) words[0][0] = redirected(words[0][0]);
    else words[0] = redirected(words[0]);
    return connect.apply(this, words);
  };

  const stringify = JSON.stringify;
  JSON.stringify = function (value, ...rest) {
    const wanted = value && value.capabilities && value.capabilities.alwaysMatch;
    if (wanted && Object.keys(wanted).some((name) => name.startsWith("appium:"))) {
      value = { ...value, capabilities: { ...value.capabilities, alwaysMatch: bound(wanted) } };
    }
    return stringify.call(this, value, ...rest);
  };
}
