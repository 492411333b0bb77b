// Runs: going on now and latest; one of them with its attempts and its output as it comes.

import { button, h, quiet, section, table, to } from "./dom.js";
import { fetched, part, read } from "./ask.js";
import { away, badge, clock, short, took } from "./words.js";

const RUNS_SHOWN = 100;
/** Of the output, so much is kept in the page. */
const TEXT_MAX = 262144;
const HOUR_MS = 3600000;

export function runs() {
  return {
    line: "run list",
    kinds: ["run"],
    load: (signal) => read(`/v1/runs?limit=${RUNS_SHOWN}`, signal),
    draw: (data) => {
      const alive = data.runs.filter((row) => !row.finished_at);
      return [
        section("alive", table_of_runs(`Going on (${alive.length})`, alive, true, "nothing runs or waits")),
        section("ended", table_of_runs("Latest", data.runs.filter((row) => row.finished_at), true)),
      ];
    },
  };
}

export function table_of_runs(caption, rows, named, empty = "none yet") {
  const columns = [
    ...(named ? [["Job", (row) => to("job", row.job, short(row.job))]] : []),
    ["Run", (row) => to("run", row.id)],
    ["State", (row) => ended(row.state, row.reason), "last"],
    ["Slot", (row) => [clock(row.scheduled_for), row.manual ? " by hand" : ""]],
    ["Node", (row) => row.attempts.at(-1)?.node || (row.shards || []).map((shard) => shard.node).join(", ") || "–"],
    ["Attempts", (row) => row.attempts.length || "–", "number"],
    ["Took", (row) => (row.finished_at ? took(row.attempts[0]?.started_at || row.created_at, row.finished_at) || "–" : away(row.created_at, true)), "number"],
  ];
  return table(caption, columns, rows, (row) => row.id, empty);
}

export function run(ui, id) {
  const path = `/v1/runs/${part(id)}`;
  const view = { line: `run show ${id}`, kinds: ["run"] };
  let [row, wanted, output] = [null, 0, null];
  const follow = (signal) => {
    const attempt = wanted || row.attempts.at(-1)?.n || 0;
    if (output?.attempt !== attempt) {
      output?.stop();
      output = new Output(path, attempt);
    }
    output.follow(signal);
  };
  view.load = async (signal) => {
    row = await read(path, signal);
    view.name = row.job;
    if (!row.shards) follow(signal);
    return row;
  };
  view.close = () => output?.stop();
  view.drawn = () => output?.show();
  view.draw = () => [
    section("run", h("h1", {}, "Run ", row.id), about(row), deeds(ui, row, path)),
    row.shards
      ? section("shards", shards(row))
      : [
          section("attempts", attempts(row)),
          section(`output ${id} ${output.attempt}`, written(row, output, (n) => ((wanted = n), ui.live.touch()))),
        ],
  ];
  return view;
}

function ended(state, reason) {
  return [badge(state), h("div", { class: "reason" }, reason)];
}

function about(row) {
  const params = Object.entries(row.params).map(([name, value]) => `${name}=${value}`);
  return [
    h("p", {}, badge(row.state), row.cancel_requested && !row.finished_at ? " asked to end" : "", row.reason ? ` ${row.reason}` : ""),
    h(
      "p",
      {},
      "of ", to("job", row.job, short(row.job)), ` (${row.mode || "its job is gone"}), slot `, clock(row.scheduled_for), row.manual ? " by hand" : "",
      row.cause ? `, because of ${row.cause}` : "", row.parent ? [", part of ", to("run", row.parent)] : "",
      row.finished_at ? [", ended ", away(row.finished_at)] : [", began ", away(row.created_at)],
      row.not_before && Date.parse(row.not_before) > Date.parse(row.created_at) && !row.finished_at ? [", not before ", clock(row.not_before)] : "",
    ),
    params.length ? h("p", {}, quiet("params "), h("code", {}, params.join(" "))) : null,
  ];
}

function deeds(ui, row, path) {
  const [cancel, retry] = [`peercron run cancel ${row.id}`, `peercron run retry ${row.id}`];
  const again = (told) => [to("run", told.id, `run ${told.id}`), ` does its work once more: ${told.state} `];
  return h(
    "p",
    { class: "buttons" },
    row.finished_at
      ? button("Do it once more", retry, () => ui.act(`${path}:retry`, retry, again))
      : button("Cancel", cancel, () => ui.confirm(`End run ${row.id} of ${short(row.job)}? Its processes are killed.`, `${path}:cancel`, cancel, () => "it was asked to end "), { class: "danger" }),
  );
}

function attempts(row) {
  const columns = [
    ["Attempt", (attempt) => attempt.n, "number"],
    ["Node", (attempt) => attempt.node],
    ["Token", (attempt) => attempt.token, "number"],
    ["State", (attempt) => ended(attempt.state, [attempt.reason, attempt.note].filter(Boolean).join("; ")), "last"],
    ["Started", (attempt) => clock(attempt.started_at)],
    ["Ended", (attempt) => clock(attempt.finished_at)],
    ["Took", (attempt) => took(attempt.started_at, attempt.finished_at) || "–", "number"],
    ["Exit code", (attempt) => attempt.exit_code ?? "–", "number"],
    ["Why there", (attempt) => attempt.why || "–", "reason"],
  ];
  return table("Attempts", columns, row.attempts, (attempt) => String(attempt.n), "none yet");
}

function shards(row) {
  const columns = [
    ["Part", (shard) => to("run", shard.id, `#${shard.n}`)],
    ["Node", (shard) => shard.node || "–"],
    ["State", (shard) => ended(shard.state, shard.reason), "last"],
    ["Token", (shard) => shard.attempt?.token ?? "–", "number"],
    ["Exit code", (shard) => shard.attempt?.exit_code ?? "–", "number"],
  ];
  return table("Parts", columns, row.shards, (shard) => shard.id, "none yet");
}

function written(row, output, choose) {
  const choices = row.attempts.length > 1 && row.attempts.map(({ n }) => button(`Attempt ${n}`, `peercron run logs ${row.id}`, () => choose(n), { "aria-pressed": String(n === output.attempt) }));
  return [h("h2", {}, "Output"), h("p", { class: "buttons" }, choices), h("div", { id: "output", "data-own": true }), h("p", { class: "quiet" }, output.state)];
}

/** The output of one attempt, written into #output as it comes. */
class Output {
  constructor(path, attempt) {
    this.path = `${path}/log?follow=1&consistency=stale${attempt ? `&attempt=${attempt}` : ""}`;
    this.attempt = attempt;
    this.state = "…";
    this.bytes = 0;
    this.element = h("pre", { tabindex: 0, "aria-label": "Output" });
    this.going = false;
    this.stopped = new AbortController();
  }

  stop() {
    this.stopped.abort();
  }

  /** Go on, unless it goes on already or is at its end. */
  async follow(signal) {
    if (this.going) return;
    this.going = true;
    this.stopped = new AbortController();
    signal.addEventListener("abort", () => this.stop(), { once: true });
    try {
      await this.receive(await fetched(`${this.path}&offset=${this.bytes}`, { signal: this.stopped.signal }, HOUR_MS));
      this.state = "That is all.";
    } catch (error) {
      this.going = false; // the next look goes on
      this.state = error.name === "AbortError" ? "…" : `Interrupted: ${error.message}`;
    }
  }

  async receive(answer) {
    this.state = "It goes on …";
    if (answer.headers.get("Peercron-Log") === "tail") {
      this.state = "Only its end is left.";
      this.element.replaceChildren();
    }
    const decoder = new TextDecoder();
    for (const reader = answer.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) return;
      this.bytes += value.length;
      this.write(decoder.decode(value, { stream: true }));
    }
  }

  write(text) {
    const { element } = this;
    const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 30;
    element.append(text);
    while (element.childNodes.length > 1 && element.textContent.length > TEXT_MAX) element.firstChild.remove();
    this.show();
    if (atEnd) element.scrollTop = element.scrollHeight;
  }

  /** Be in the page. */
  show() {
    const place = document.getElementById("output");
    if (place && !place.contains(this.element)) place.replaceChildren(this.element);
  }
}
