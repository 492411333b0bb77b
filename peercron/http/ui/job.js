// One job: what it is, when it comes, what came of its slots, and why it runs or does not.

import { h, quiet, section, table } from "./dom.js";
import { now, part, read } from "./ask.js";
import { deeds, doing, last, next } from "./overview.js";
import { table_of_runs } from "./runs.js";
import { away, badge, clock, quoted, short, SIGNS, trigger } from "./words.js";

const SLOTS = 100;
const COMING = 10;
/** The next slots are read every so many times; until then some have come. */
const SELDOM = 5;
const SPARE = 10;
/** What the cluster adds to the definition. */
const ADDED = ["uid", "key", "revision", "created_at", "updated_at", "next", "running", "queued", "last", "incumbent", "line", "name", "namespace", "paused"];

export function job(ui, name) {
  const path = `/v1/jobs/${part(name)}`;
  const view = { line: `job show ${quoted(short(name))}`, name, kinds: ["job", "run", "cluster"], spacing: 1500, pointed: "" };
  let [count, seldom] = [0, null];
  view.load = async (signal) => {
    if (count++ % SELDOM === 0) seldom = read(`${path}/next?n=${COMING + SPARE}`, signal);
    const [row, ledger, runs, explained, slots] = await Promise.all([
      read(path, signal), read(`${path}/ledger?last=${SLOTS}`, signal), read(`${path}/runs?limit=25`, signal), read(`${path}/explain`, signal), seldom,
    ]).catch((error) => {
      count = 0;
      throw error;
    });
    return { row, ledger: ledger.ledger, runs: runs.runs, slots, explained };
  };
  view.draw = ({ row, ledger, runs, slots, explained }) => [
    section("job", h("h1", {}, short(row.key)), summary(row), h("p", { class: "buttons" }, deeds(ui, row))),
    section("strip", strip(ui, view, ledger, runs)),
    section("why", why(explained)),
    section("runs", table_of_runs(`Runs (${runs.length} newest)`, runs, false)),
    section("next", coming(slots)),
    section("definition", definition(row)),
  ];
  return view;
}

function summary(row) {
  return [
    h("p", {}, [trigger(row), row.mode, doing(row)].filter(Boolean).join(" · ")),
    h("p", {}, quiet("next "), next(row), quiet(" · last "), last(row)),
    row.line?.length ? h("p", {}, quiet("line "), row.line.join(" → ")) : null,
    row.incumbent ? h("p", {}, quiet("primary "), row.incumbent) : null,
  ];
}

/** The last slots, one cell each, the newest at the right; arrow keys go through them. */
function strip(ui, view, ledger, runs) {
  const told = new Set(ledger.map((entry) => entry.run));
  const alive = runs.filter((run) => !run.finished_at && !told.has(run.id)).map((run) => ({ ...run, run: run.id, outcome: run.state, node: run.attempts.at(-1)?.node }));
  const slots = [...ledger, ...alive].sort((one, other) => one.slot - other.slot).slice(-SLOTS);
  const pointed = slots.find((slot) => slot.run === view.pointed) || slots.at(-1);
  const point = (slot) => () => {
    if (view.pointed === slot.run) return;
    view.pointed = slot.run;
    ui.redraw();
  };
  const go = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const cell = step && event.target.closest("a")?.[step < 0 ? "previousSibling" : "nextSibling"];
    if (!cell) return;
    event.preventDefault();
    cell.focus();
  };
  const cells = slots.map((slot) =>
    h(
      "a",
      {
        key: slot.run, class: `slot ${slot.outcome}`, href: `#/run/${part(slot.run)}`, tabindex: slot === pointed ? 0 : -1,
        "aria-label": `${slot.outcome}, ${slot.scheduled_for}${slot.manual ? ", by hand" : ""}${slot.reason ? `: ${slot.reason}` : ""}`,
        onfocus: point(slot), onpointerenter: point(slot),
      },
      SIGNS[slot.outcome] || "·",
    ),
  );
  const counts = Object.entries(Object.groupBy(slots, (slot) => slot.outcome)).map(([outcome, some]) => h("span", {}, badge(outcome), ` ${some.length}`));
  return [
    h("h2", {}, `The last ${slots.length} slots`),
    slots.length
      ? h("div", { class: "strip", role: "group", "aria-label": "Slots, the newest last; arrow keys go through them", onkeydown: go }, cells)
      : h("p", { class: "quiet" }, "There was none yet."),
    h("p", { class: "pointed" }, pointed ? said(pointed) : ""),
    h("p", { class: "legend" }, counts),
  ];
}

function said(slot) {
  return [
    badge(slot.outcome), " ", clock(slot.scheduled_for), " ", quiet(away(slot.scheduled_for)),
    slot.manual ? " by hand" : "", slot.node ? ` on ${slot.node}` : "", slot.attempts > 1 ? ` after ${slot.attempts} attempts` : "", slot.reason ? `: ${slot.reason}` : "",
  ];
}

function why(explained) {
  const barred = explained.nodes.filter((node) => !node.may_run);
  return [
    h("h2", {}, "Why it runs or does not"),
    h("ul", { class: "why" }, explained.why.map((sentence) => h("li", {}, sentence)), barred.map((node) => h("li", {}, `not on ${node.node}: ${node.why}`))),
  ];
}

function coming(slots) {
  const columns = [
    [`Slot (${slots.timezone})`, (slot) => slot.local.replace("T", " ")],
    ["From now", (slot) => away(slot.scheduled_for)],
    ["Node", (slot) => slot.node || "–"],
    ["Left out", (slot) => slot.left_out || "–"],
  ];
  const left = slots.next.filter((slot) => slot.slot > now()).slice(0, COMING);
  const some = (name) => left.some((slot) => slot[name]);
  const shown = columns.filter(([name]) => (name === "Node" ? some("node") : name === "Left out" ? some("left_out") : true));
  return table("Next slots", shown, left, (slot) => String(slot.slot), "none that time makes");
}

function definition(row) {
  const keys = Object.keys(row).filter((key) => !ADDED.includes(key));
  return [
    h("h2", {}, "Definition"),
    h("dl", {}, keys.map((key) => [h("dt", {}, key), h("dd", {}, h("code", {}, typeof row[key] === "string" ? row[key] : JSON.stringify(row[key])))])),
    h("p", { class: "quiet" }, `revision ${row.revision}, changed `, away(row.updated_at), ", made ", away(row.created_at)),
  ];
}
