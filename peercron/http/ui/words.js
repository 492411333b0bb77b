// How times, durations and outcomes are said.

import { h } from "./dom.js";
import { now } from "./ask.js";

/** Outcome or state -> a sign beside the word, so that colour never says anything alone. */
export const SIGNS = {
  succeeded: "✓", failed: "✕", timed_out: "T", cancelled: "C", lost: "?", skipped: "–", missed: "M",
  running: "▸", queued: "…", assigned: "…", ready: "…", started: "▸", refused: "–",
};

/** An outcome or a state, for people. */
export function badge(word) {
  return h("span", { class: `badge ${SIGNS[word] ? word : ""}` }, `${SIGNS[word] || "·"} ${word.replaceAll("_", " ")}`);
}

/** "12 s", "4 min 10 s", "3 h 5 min", "2 d 4 h". */
export function lasting(ms) {
  const s = Math.round(Math.abs(ms) / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** How long something took: "85 ms", "1.3 s", "4 min 10 s". */
export function took(from, to) {
  const ms = Date.parse(to) - Date.parse(from);
  if (!(ms >= 0)) return "";
  return ms < 1000 ? `${ms} ms` : ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : lasting(ms);
}

function relative(instant, bare) {
  const left = Date.parse(instant) - now();
  if (bare) return lasting(left);
  return Math.abs(left) < 500 ? "now" : left > 0 ? `in ${lasting(left)}` : `${lasting(left)} ago`;
}

/** How far an instant is from now; goes on by itself (see `tick`). `bare`: how long it is, and no more. */
export function away(instant, bare = false) {
  return h("time", { datetime: instant, class: bare ? "away bare" : "away", title: instant }, relative(instant, bare));
}

/** Let all that `away` made go on. */
export function tick() {
  for (const element of document.querySelectorAll("time.away")) {
    const text = relative(element.dateTime, element.classList.contains("bare"));
    if (element.firstChild.nodeValue !== text) element.firstChild.nodeValue = text;
  }
}

const formats = new Map();

function format(zone, day) {
  const known = formats.get(`${zone} ${day}`);
  if (known) return known;
  const of = { hourCycle: "h23", hour: "2-digit", minute: "2-digit", second: "2-digit" };
  if (day) Object.assign(of, { day: "numeric", month: "short" });
  let made;
  try {
    made = new Intl.DateTimeFormat("en-GB", { ...of, timeZone: zone });
  } catch {
    made = new Intl.DateTimeFormat("en-GB", { ...of, timeZone: "UTC" }); // this browser does not know the zone
  }
  formats.set(`${zone} ${day}`, made);
  return made;
}

/** The time of an instant, with its day if that is not today; in the reader's zone if no other is given. */
export function clock(instant, zone) {
  if (!instant) return "–";
  const at = Date.parse(instant);
  const far = Math.abs(at - now()) > 12 * 3600 * 1000;
  const text = format(zone, far).format(at);
  return h("time", { datetime: instant, title: instant }, zone ? `${text} ${zone.split("/").pop().replaceAll("_", " ")}` : text);
}

/** A name as the command line wants it: the namespace "default" is left out. */
export function short(key) {
  return key.replace(/^default\//, "");
}

/** A word of a command line. */
export function quoted(word) {
  return /^[\w./:@%+=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** What makes a job run, in the words of jobs.toml. */
export function trigger(job) {
  if (job.schedule) return job.schedule;
  if (job.every) return `every ${job.every}`;
  if (job.at) return `at ${job.at}`;
  if (job.when) return `when ${job.when}`;
  if (job.after) return `after ${job.after.map(short).join(", ")}`;
  if (job.on) return `on ${Object.entries(job.on).map(([key, value]) => `${key} ${value.url || value}`).join(" ")}`;
  if (job.webhook) return "webhook";
  if (job.queue && job.mode !== "queue") return `queue ${job.queue}`;
  return "by hand";
}
