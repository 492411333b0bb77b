// What the cluster keeps for programs: locks, queues and the shared state. Nothing is changed from here.

import { h, quiet, section, table, to } from "./dom.js";
import { part, read } from "./ask.js";
import { away, badge, quoted, short } from "./words.js";

const ROWS = 500;
const EVERY_MS = 2000;
const VALUE_SHOWN = 20000;

export function locks() {
  const columns = [
    ["Lock", named],
    ["Kind", (row) => (row.kind === "semaphore" ? `semaphore of ${row.permits}` : row.kind || "–")],
    ["Held by", (row) => [row.holders.map(held), row.lost.map((one) => h("div", {}, badge("lost"), " ", one.owner, ", free ", away(one.free_at)))]],
    ["In line", (row) => row.waiting, "number"],
    ["Next in line", (row) => row.line.slice(0, 5).map((waiter) => h("div", {}, waiter.owner, quiet(" since ", away(waiter.since))))],
  ];
  return {
    line: "lock list",
    kinds: ["lock"],
    every: EVERY_MS,
    load: (signal) => read(`/v1/locks?limit=${ROWS}`, signal),
    draw: (data) => h("section", {}, table(counted("Locks", data.locks, data.total), columns, data.locks, (row) => `${row.namespace}/${row.name}`, "nobody holds one")),
  };
}

function held(one) {
  return h("div", {}, one.owner, one.shared ? " (shared)" : "", quiet(` token ${one.token}, since `, away(one.since)));
}

function named(row) {
  return short(`${row.namespace}/${row.name}`);
}

function counted(what, rows, total) {
  return total > rows.length ? `${what} (the first ${rows.length} of ${total})` : `${what} (${rows.length})`;
}

export function queues() {
  const number = (name, key) => [name, (row) => row[key], "number"];
  const columns = [
    ["Queue", (row) => to("queue", `${row.namespace}/${row.name}`, named(row))],
    number("Ready", "ready"), number("In flight", "in_flight"), number("Delayed", "delayed"), number("Behind", "behind"), number("Dead", "dead"),
    ["Oldest", (row) => (row.oldest_at ? away(row.oldest_at) : "–")],
    ["Visibility", (row) => row.visibility, "number"],
  ];
  return {
    line: "queue list",
    kinds: ["queue"],
    every: EVERY_MS,
    load: (signal) => read(`/v1/queues?limit=${ROWS}`, signal),
    draw: (data) => h("section", {}, table(counted("Queues", data.queues, data.total), columns, data.queues, named, "there is none")),
  };
}

/** The items of a queue; none is taken. */
export function queue(ui, name) {
  const [namespace, own] = name.split("/");
  const columns = [
    ["Item", (item) => item.id, "number"],
    ["State", (item) => item.state.replace("_", " ")],
    ["Key", (item) => item.key || "–"],
    ["Group", (item) => item.group || "–"],
    ["Priority", (item) => item.priority, "number"],
    ["Tries", (item) => item.attempts, "number"],
    ["Put", (item) => away(item.put_at)],
    ["Payload", (item) => cut(item.payload_base64 ?? JSON.stringify(item.payload), 300), "code"],
    ["Reason", (item) => item.reason || "–"],
  ];
  return {
    line: `queue peek ${quoted(short(name))}`,
    kinds: ["queue"],
    every: EVERY_MS,
    load: (signal) => read(`/v1/queues/${part(namespace)}/${part(own)}/items?limit=100`, signal),
    draw: (data) => [h("h1", {}, "Queue ", short(name)), h("section", {}, table("The next items", columns, data.items, (item) => String(item.id), "it is empty"))],
  };
}

function cut(text, most) {
  return text.length > most ? `${text.slice(0, most)} …` : text;
}

export function namespaces() {
  const columns = [
    ["Namespace", (row) => to("state", row.namespace)],
    ["Keys", (row) => row.keys, "number"],
  ];
  return {
    line: "state list",
    kinds: [],
    every: EVERY_MS,
    load: (signal) => read("/v1/state", signal),
    draw: (data) => h("section", {}, table("Shared state", columns, data.namespaces, (row) => row.namespace, "there is nothing in it")),
  };
}

/** The keys of a namespace; the value of one is shown when it is asked for. */
export function keys(ui, namespace) {
  const path = `/v1/state/${part(namespace)}/`;
  let [prefix, chosen] = ["", null];
  const choose = (key) => () => {
    chosen = chosen === key ? null : key;
    ui.live.touch();
  };
  const columns = [
    ["Key", (row) => h("button", { type: "button", class: "link", "aria-expanded": String(row.chosen), onclick: choose(row.key), "data-line": `peercron state get ${quoted(row.key)}` }, row.key)],
    ["Bytes", (row) => row.size, "number"],
    ["Revision", (row) => row.revision, "number"],
  ];
  return {
    line: "state list",
    kinds: [],
    every: EVERY_MS,
    load: async (signal) => ({
      keys: (await read(`${path}?limit=${ROWS}&prefix=${part(prefix)}`, signal)).keys,
      // The first key that begins like this one is this one.
      value: chosen === null ? null : (await read(`${path}?limit=1&values=1&prefix=${part(chosen)}`, signal)).keys[0],
    }),
    draw: (data) => [
      section("keys",
        h("h1", {}, "Namespace ", namespace),
        h("div", { class: "choosing" }, h("label", {}, "Keys that begin with ", h("input", { type: "search", oninput: (event) => ((prefix = event.target.value), ui.live.touch()) }))),
        table(counted("Keys", data.keys, data.keys.length), columns, data.keys.map((row) => ({ ...row, chosen: row.key === chosen })), (row) => row.key, "none")),
      chosen === null ? null : section("value", h("h2", {}, chosen), h("pre", { tabindex: 0 }, shown(data.value, chosen))),
    ],
  };
}

function shown(row, chosen) {
  if (row?.key !== chosen) return "…";
  return cut(row.base64 !== undefined ? `base64: ${row.base64}` : JSON.stringify(row.value, null, 2), VALUE_SHOWN);
}
