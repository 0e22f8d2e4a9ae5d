// `node --require` this in every process of an AppWright run on a device.
//
// AppWright dials 127.0.0.1:4723, whichever Appium listens there: each attempt has one of its own. And it asks for
// `fullReset`, which uninstalls the app after every test: without it Appium clears the app's data instead, which is as
// fresh, and the build that hpcq has installed stays. And Appium would look for devices at port 5037, wherever the adb
// server of the queue is.
"use strict";
const net = require("node:net");

const OURS = Number(process.env.HPCQ_APPIUM_PORT);
const THEIRS = 4723;
const ADB = Number(process.env.ANDROID_ADB_SERVER_PORT);
const LOCAL = /^(127\.0\.0\.1|localhost|::1)?$/;

function redirected(options) {
  const theirs = options && typeof options === "object" && Number(options.port) === THEIRS;
  return theirs && LOCAL.test(options.host || options.hostname || "") ? { ...options, port: OURS } : options;
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
      const kept = { ...(ADB ? { "appium:adbPort": ADB } : {}), ...wanted };
      if (kept["appium:fullReset"]) kept["appium:fullReset"] = false;
      value = { ...value, capabilities: { ...value.capabilities, alwaysMatch: kept } };
    }
    return stringify.call(this, value, ...rest);
  };
}
