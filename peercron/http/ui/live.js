// What keeps the page true: the stream of events says what has changed, and what no event tells is asked for now and then.
// Nothing is asked by a page that nobody sees.

import { fetched, now, Problem, read } from "./ask.js";

const STATUS_MS = 2000;
/** A view is read again when an event says that it has changed, but not before this… */
const FRESH_MS = 1000;
/** …and its reading may take this share of the time, so that a long list is read less often. */
const SHARE = 0.1;
/** Without an event it is read after this, and after less where no events come. */
const STALE_MS = 5000;
/** The node says every 5 s how far it is; after this silence the stream is dead. */
const SILENCE_MS = 12000;
const RETRY_MS = 2000;
const EVENTS_KEPT = 200;

/** What is known now; `changed` is called after each change. */
export class Live {
  constructor(changed) {
    this.changed = changed;
    this.status = null;
    this.answeredAt = 0;
    this.problem = null;
    this.denied = null;
    this.events = [];
    this.place = "";
    this.streaming = false;
    this.view = null;
    this.data = null;
    this.viewProblem = null;
    this.stopped = new AbortController();
    this.wake = () => {};
    document.addEventListener("visibilitychange", () => (document.hidden ? this.stop() : this.start()));
  }

  /** Begin, or go on. */
  start() {
    this.stop();
    if (document.hidden) return;
    this.stopped = new AbortController();
    this.dirty = true;
    const { signal } = this.stopped;
    this.follow(signal);
    this.ask(signal);
  }

  stop() {
    this.stopped.abort();
    this.streaming = false;
    this.wake();
  }

  /** Show another view: {kinds: of events that change it, load: signal => data, draw: data => nodes}. */
  show(view) {
    this.view?.close?.();
    [this.view, this.data, this.viewProblem, this.dirty] = [view, null, null, true];
    this.wake();
  }

  /** Something has changed that no event has told yet. */
  touch() {
    if (this.dirty) return;
    this.dirty = true;
    this.wake();
  }

  /** Look at once how the cluster is. */
  hurry() {
    this.statusAt = 0;
    this.wake();
  }

  async ask(signal) {
    let shown = null;
    this.statusAt = 0;
    while (!signal.aborted && !this.denied) {
      if (this.view !== shown) [shown, this.viewAt, this.cost] = [this.view, 0, 0];
      try {
        await this.once(signal);
      } catch (error) {
        console.error(error); // a defect of this page, which is no reason to stand still
      }
      if (signal.aborted) return;
      const next = this.problem ? this.statusAt : Math.min(this.statusAt, this.due());
      await this.rest(Math.max(50, next - performance.now()));
    }
  }

  /** Ask what is due, and show it. */
  async once(signal) {
    const at = performance.now();
    if (at >= this.statusAt) {
      this.statusAt = at + STATUS_MS;
      await this.askStatus(signal);
      if (!this.status?.leader || this.problem) this.statusAt = at + STATUS_MS / 2;
    }
    if (at >= this.due() && !this.problem) {
      [this.dirty, this.viewAt] = [false, at];
      await this.askView(signal);
    }
    if (signal.aborted) return;
    this.changed();
    if (this.viewAt === at) [this.viewAt, this.cost] = [performance.now(), performance.now() - at];
  }

  /** When the view is to be read again. */
  due() {
    if (!this.viewAt) return 0;
    const spacing = Math.max(FRESH_MS, this.view.spacing || 0, this.cost / SHARE);
    if (this.dirty) return this.viewAt + spacing;
    return this.viewAt + Math.max(spacing, this.streaming ? this.view.every || STALE_MS : STATUS_MS);
  }

  /** Until the time is up or something has happened. */
  rest(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => (clearTimeout(timer), resolve());
    });
  }

  async askStatus(signal) {
    try {
      this.status = await read("/v1/status", signal);
      [this.problem, this.answeredAt] = [null, now()];
    } catch (error) {
      this.fail(error, (problem) => (this.problem = problem));
    }
  }

  async askView(signal) {
    const view = this.view;
    try {
      const data = await view.load(signal);
      if (view === this.view) [this.data, this.viewProblem] = [data, null];
    } catch (error) {
      this.fail(error, (problem) => (this.viewProblem = view === this.view ? problem : this.viewProblem));
    }
  }

  fail(error, tell) {
    if (error.name === "AbortError") return;
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) this.denied = error;
    else tell(error);
  }

  /** Go on after a 401, with the token that was given meanwhile. */
  admit() {
    this.denied = null;
    this.start();
  }

  async follow(signal) {
    while (!signal.aborted) {
      try {
        await this.stream(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Problem && error.code === "compacted") [this.events, this.place] = [[], ""];
        if (error instanceof Problem && (error.status === 401 || error.status === 403)) return;
      }
      this.streaming = false;
      this.hurry();
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  /** EventSource cannot send a token; this can. */
  async stream(signal) {
    const from = this.place ? `from=${this.place}` : `last=${EVENTS_KEPT}`;
    const heard = new AbortController();
    signal.addEventListener("abort", () => heard.abort(), { once: true });
    const answer = await fetched(`/v1/events?consistency=stale&${from}`, { signal: heard.signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let [text, timer] = ["", 0];
    try {
      for (;;) {
        clearTimeout(timer);
        timer = setTimeout(() => heard.abort(), SILENCE_MS);
        const { done, value } = await reader.read();
        if (done) return;
        this.streaming = true;
        const told = (text + value).split("\n\n");
        text = told.pop();
        for (const block of told) this.hear(block);
      }
    } finally {
      clearTimeout(timer);
      heard.abort();
    }
  }

  hear(block) {
    const lines = Object.fromEntries(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
    if (lines.id) this.place = lines.id;
    if (lines.event === "index" || !lines.data) return;
    const event = JSON.parse(lines.data);
    if (lines.event === "error") throw new Problem(410, event.error.code, event.error.detail);
    this.events = [...this.events.slice(1 - EVENTS_KEPT), event];
    if (["member", "leader", "cluster"].includes(event.kind) && Date.parse(event.at) > now() - STATUS_MS) this.hurry();
    if (this.view?.kinds.includes(event.kind) && (!this.view.name || this.view.name === event.name)) this.touch();
  }
}
