// Runs: going on now and latest; one of them with its attempts and its output as it comes.

import { button, h, table } from "./dom.js";
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
        h("section", { key: "alive" }, table_of_runs(`Going on (${alive.length})`, alive, true, "nothing runs or waits")),
        h("section", { key: "ended" }, table_of_runs("Latest", data.runs.filter((row) => row.finished_at), true)),
      ];
    },
  };
}

export function table_of_runs(caption, rows, named, empty = "none yet") {
  const columns = [
    ...(named ? [{ name: "Job", cell: (row) => h("a", { href: `#/job/${part(row.job)}` }, short(row.job)) }] : []),
    { name: "Run", cell: (row) => h("a", { href: `#/run/${part(row.id)}` }, row.id) },
    { name: "State", class: "last", cell: (row) => [badge(row.state), h("div", { class: "reason" }, row.reason)] },
    { name: "Slot", cell: (row) => [clock(row.scheduled_for), row.manual ? " by hand" : ""] },
    { name: "Node", cell: (row) => row.attempts.at(-1)?.node || (row.shards || []).map((shard) => shard.node).join(", ") || "–" },
    { name: "Attempts", class: "number", cell: (row) => row.attempts.length || "–" },
    { name: "Took", class: "number", cell: (row) => (row.finished_at ? took(row.attempts[0]?.started_at || row.created_at, row.finished_at) || "–" : away(row.created_at, true)) },
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
    follow(signal);
    return row;
  };
  view.close = () => output?.stop();
  view.draw = () => [
    h("section", { key: "run" }, h("h1", {}, "Run ", row.id), about(row), deeds(ui, row, path)),
    h("section", { key: "attempts" }, attempts(row)),
    row.shards ? h("section", { key: "shards" }, shards(row)) : null,
    h("section", { key: `output ${id} ${output.attempt}` }, written(row, output, (n) => ((wanted = n), ui.live.touch()))),
  ];
  return view;
}

function about(row) {
  const params = Object.entries(row.params).map(([name, value]) => `${name}=${value}`);
  return [
    h("p", {}, badge(row.state), row.cancel_requested && !row.finished_at ? " asked to end" : "", row.reason ? ` ${row.reason}` : ""),
    h(
      "p",
      {},
      "of ", h("a", { href: `#/job/${part(row.job)}` }, short(row.job)), ` (${row.mode || "its job is gone"}), slot `, clock(row.scheduled_for), row.manual ? " by hand" : "",
      row.cause ? `, because of ${row.cause}` : "", row.parent ? [", part of ", h("a", { href: `#/run/${part(row.parent)}` }, row.parent)] : "",
      row.finished_at ? [", ended ", away(row.finished_at)] : [", began ", away(row.created_at)],
      row.not_before && Date.parse(row.not_before) > Date.parse(row.created_at) && !row.finished_at ? [", not before ", clock(row.not_before)] : "",
    ),
    params.length ? h("p", {}, h("span", { class: "quiet" }, "params "), h("code", {}, params.join(" "))) : null,
  ];
}

function deeds(ui, row, path) {
  const [cancel, retry] = [`peercron run cancel ${row.id}`, `peercron run retry ${row.id}`];
  const again = (told) => [h("a", { href: `#/run/${part(told.id)}` }, `run ${told.id}`), ` does its work once more: ${told.state} `];
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
    { name: "Attempt", class: "number", cell: (attempt) => attempt.n },
    { name: "Node", cell: (attempt) => attempt.node },
    { name: "Token", class: "number", cell: (attempt) => attempt.token },
    { name: "State", class: "last", cell: (attempt) => [badge(attempt.state), h("span", { class: "reason" }, [attempt.reason, attempt.note].filter(Boolean).join("; "))] },
    { name: "Started", cell: (attempt) => clock(attempt.started_at) },
    { name: "Ended", cell: (attempt) => clock(attempt.finished_at) },
    { name: "Took", class: "number", cell: (attempt) => took(attempt.started_at, attempt.finished_at) || "–" },
    { name: "Exit code", class: "number", cell: (attempt) => attempt.exit_code ?? "–" },
    { name: "Why there", class: "reason", cell: (attempt) => attempt.why || "–" },
  ];
  return table("Attempts", columns, row.attempts, (attempt) => String(attempt.n), row.shards ? "its parts have them" : "none yet");
}

function shards(row) {
  const columns = [
    { name: "Part", cell: (shard) => h("a", { href: `#/run/${part(shard.id)}` }, `#${shard.n}`) },
    { name: "Node", cell: (shard) => shard.node || "–" },
    { name: "State", class: "last", cell: (shard) => [badge(shard.state), shard.reason ? h("span", { class: "reason" }, shard.reason) : null] },
    { name: "Token", class: "number", cell: (shard) => shard.attempt?.token ?? "–" },
    { name: "Exit code", class: "number", cell: (shard) => shard.attempt?.exit_code ?? "–" },
  ];
  return table("Parts", columns, row.shards, (shard) => shard.id, "none yet");
}

function written(row, output, choose) {
  const choices = row.attempts.length > 1 && row.attempts.map(({ n }) => button(`Attempt ${n}`, `peercron run logs ${row.id}`, () => choose(n), { "aria-pressed": n === output.attempt ? "true" : "false" }));
  return [h("h2", {}, "Output"), h("p", { class: "buttons" }, choices), h("pre", { id: "output", "data-own": true, tabindex: 0, "aria-label": "Output" }), h("p", { class: "quiet" }, output.state)];
}

/** The output of one attempt, written into #output as it comes. */
class Output {
  constructor(path, attempt) {
    this.path = `${path}/log?follow=1&consistency=stale${attempt ? `&attempt=${attempt}` : ""}`;
    this.attempt = attempt;
    this.state = "…";
    this.bytes = 0;
    this.texts = [];
    this.going = false;
    this.stopped = new AbortController();
  }

  stop() {
    this.stopped.abort();
    this.going = true;
  }

  /** Go on, unless it goes on already or is at its end. */
  async follow(signal) {
    if (this.going) return this.show();
    this.going = true;
    this.stopped = new AbortController();
    signal.addEventListener("abort", () => this.stopped.abort(), { once: true });
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
      [this.texts, this.bytes] = [[], 0];
      this.element?.replaceChildren();
    }
    const decoder = new TextDecoder();
    for (const reader = answer.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) return;
      this.bytes += value.length;
      this.texts.push(decoder.decode(value, { stream: true }));
      while (this.texts.length > 1 && this.texts.reduce((sum, text) => sum + text.length, 0) > TEXT_MAX) this.texts.shift();
      this.show();
    }
  }

  /** Write what is not written yet. */
  show() {
    const element = document.getElementById("output");
    if (!element) return;
    if (element !== this.element) {
      this.element = element;
      element.replaceChildren();
    }
    const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 30;
    const shown = new Map([...element.childNodes].map((node) => [node.text, node]));
    for (const [text, node] of shown) if (!this.texts.includes(text)) node.remove();
    for (const text of this.texts) {
      if (shown.has(text)) continue;
      const node = new Text(text);
      node.text = text;
      element.append(node);
    }
    if (atEnd) element.scrollTop = element.scrollHeight;
  }
}
