// The cluster and its jobs.

import { button, h, quiet, section, table, to } from "./dom.js";
import { now, part, read } from "./ask.js";
import { page, WELL } from "./head.js";
import { away, badge, clock, quoted, short, trigger } from "./words.js";

const JOBS_SHOWN = 1000;
const CHOICES = {
  all: () => true,
  running: (job) => job.running,
  waiting: (job) => job.queued,
  paused: (job) => job.paused,
  "not succeeded": (job) => job.last && job.last.outcome !== "succeeded",
};

/** The look at everything is long where there is much. */
const DOCTOR_MS = 30000;

export function overview(ui) {
  let [at, findings] = [0, null];
  const chosen = new URLSearchParams(location.hash.split("?")[1] || "");
  return {
    line: "job list",
    kinds: ["job", "run", "cluster"],
    load: async (signal) => {
      const list = await read(`/v1/jobs?limit=${JOBS_SHOWN}`, signal);
      if (now() > at + DOCTOR_MS) [at, findings] = [now(), (await read("/v1/doctor", signal)).findings];
      return list;
    },
    draw: (data) => [
      section("members", members(ui.live.status), doctor(findings)),
      section("jobs", jobs(ui, data, chosen)),
    ],
  };
}

function members(status) {
  const columns = [
    ["Node", (row) => (row.http && row.name !== status.node ? h("a", { href: page(row) }, row.name) : [row.name || row.address, row.name === status.node ? quiet(" (here)") : ""])],
    ["Datacentre", (row) => row.dc || "–"],
    ["Role", (row) => row.role],
    ["State", (row) => [state(row), row.drained ? " drained" : ""], "last"],
    ["Behind", (row) => row.behind ?? "–", "number"],
    ["Round trip", (row) => (typeof row.rtt_ms === "number" ? `${row.rtt_ms.toFixed(1)} ms` : "–"), "number"],
    ["Clock", (row) => (typeof row.clock_ms === "number" ? `${row.clock_ms > 0 ? "+" : ""}${row.clock_ms} ms` : "–"), "number"],
    ["Running", (row) => row.running ?? "–", "number"],
    ["Version", (row) => row.version || "–"],
  ];
  return table("Members", columns, status?.members || [], (row) => row.id || row.address, "none");
}

const SEVERE = { critical: "✕", warning: "!" };

/** What `peercron doctor` says; one line, until it is opened. */
function doctor(findings) {
  if (!findings.length) return h("p", { class: "doctor" }, "✓ doctor finds nothing wrong");
  const worst = SEVERE[findings[0].severity] || "·";
  return h(
    "details",
    { class: "doctor" },
    h("summary", { "data-line": "peercron doctor" }, `${worst} doctor finds ${findings.length === 1 ? "one thing" : `${findings.length} things`}`),
    h("ul", {}, findings.map((found) => h("li", {}, `${SEVERE[found.severity] || "·"} ${found.where}: ${found.what}. `, h("code", {}, found.advice)))),
  );
}

const SIGN = { leader: "★", follower: "✓", learner: "↑", up: "·", connected: "·" };

function state(row) {
  const silent = row.silent_ms ? ` ${Math.round(row.silent_ms / 1000)} s` : "";
  return h("span", { class: `state ${WELL.includes(row.state) ? "healthy" : "degraded"}` }, `${SIGN[row.state] || "✕"} ${row.state}${silent}`);
}

function choosing(ui, chosen, data, count) {
  const change = (name) => (event) => {
    if (event.target.value && event.target.value !== "all") chosen.set(name, event.target.value);
    else chosen.delete(name);
    history.replaceState(null, "", `#/${chosen.size ? `?${chosen}` : ""}`);
    ui.redraw();
  };
  const open = (event) => {
    if (event.key === "Enter" && event.target.value.trim()) location.hash = `#/job/${part(full(event.target.value.trim()))}`;
  };
  const label = data.total > data.jobs.length ? `of the first ${data.jobs.length} of ${data.total}, with` : "with";
  return h(
    "div",
    { class: "choosing" },
    h("h2", {}, `Jobs (${count})`),
    h("label", {}, `${label} `, h("input", { type: "search", id: "filter", placeholder: "name, mode or schedule", value: chosen.get("q"), oninput: change("q"), onkeydown: open })),
    h(
      "label",
      {},
      "that are ",
      h("select", { id: "which", onchange: change("is") }, Object.keys(CHOICES).map((each) => h("option", { value: each, selected: each === chosen.get("is") }, each))),
    ),
  );
}

function full(name) {
  return name.includes("/") ? name : `default/${name}`;
}

function fits(job, chosen) {
  const text = `${job.key} ${job.mode} ${trigger(job)}`.toLowerCase();
  const words = (chosen.get("q") || "").toLowerCase().split(/\s+/);
  return words.every((word) => text.includes(word)) && (CHOICES[chosen.get("is")] || CHOICES.all)(job);
}

function jobs(ui, data, chosen) {
  const columns = [
    ["Job", (job) => to("job", job.key, short(job.key))],
    ["Schedule", trigger, "code"],
    ["Mode", (job) => job.mode],
    ["Next", next, "next"],
    ["Last", last, "last"],
    ["Now", (job) => doing(job) || quiet("–"), "now"],
    ["Do", (job) => deeds(ui, job), "buttons"],
  ];
  const shown = data.jobs.filter((job) => fits(job, chosen));
  const empty = data.total ? "none like that" : "no job yet: peercron job add …";
  return [choosing(ui, chosen, data, shown.length), table("Jobs", columns, shown, (job) => job.uid, empty, "steady jobs")];
}

/** The next slot, in the job's zone. */
export function next(job) {
  if (!job.next) return quiet(job.paused ? "paused" : "–");
  return [away(job.next), " ", h("span", { class: "under" }, clock(job.next, job.schedule ? job.timezone || "UTC" : undefined))];
}

export function last(job) {
  if (!job.last) return quiet("–");
  const { outcome, decided_at, reason } = job.last;
  return [badge(outcome), " ", quiet(away(decided_at)), " ", h("span", { class: "under", title: reason }, reason)];
}

export function doing(job) {
  const told = [job.running && `▸ ${job.running} running`, job.queued && `… ${job.queued} waiting`, job.paused && "‖ paused"].filter(Boolean);
  return told.join(", ") || null;
}

/** Run now, pause, resume. */
export function deeds(ui, job) {
  const name = quoted(short(job.key));
  const path = `/v1/jobs/${part(job.key)}`;
  const of = `: ${short(job.key)}`;
  const do_ = (deed, done) => [`peercron job ${deed} ${name}`, () => ui.act(`${path}:${deed}`, `peercron job ${deed} ${name}`, done)];
  const started = (run) => [
    to("run", run.id, `run ${run.id}`),
    ` of ${short(job.key)}: ${run.state || "begins"}${run.reason ? `, ${run.reason}` : ""} `,
  ];
  return [
    button("Run now", ...do_("run", started), { "aria-label": `Run now${of}` }),
    " ",
    job.paused
      ? button("Resume", ...do_("resume", () => `${short(job.key)} goes on `), { "aria-label": `Resume${of}` })
      : button("Pause", ...do_("pause", () => `${short(job.key)} is paused; what runs goes on `), { "aria-label": `Pause${of}` }),
  ];
}
