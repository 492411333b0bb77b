// Begins the page: which view the address asks for, and the head, the notices and the questions that all of them share.

import { draw, h, quiet } from "./dom.js";
import { Problem, token, write } from "./ask.js";
import { Live } from "./live.js";
import { banner, head, health } from "./head.js";
import { overview } from "./overview.js";
import { job } from "./job.js";
import { run, runs } from "./runs.js";
import { keys, locks, namespaces, queue, queues } from "./data.js";
import { events } from "./events.js";
import { tick } from "./words.js";

const NOTICE_MS = 12000;
const PAGES = [
  ["", "Cluster and jobs"],
  ["runs", "Runs"],
  ["locks", "Locks"],
  ["queues", "Queues"],
  ["state", "State"],
  ["events", "Events"],
];
/** First word of the address -> its view. */
const VIEWS = { "": overview, job, runs, run, locks, queues, queue, state: (ui, name) => (name ? keys(ui, name) : namespaces(ui)), events };

const at = (id) => document.getElementById(id);

/** What views may use. */
const ui = {
  /** Do it; whatever comes of it is said. `then`: JSON of the answer => notice. */
  async act(path, line, then) {
    try {
      const told = await write(path);
      notice("good", line, ...[then(told)].flat());
      live.touch();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status === 401) return refused(error);
      const unknown = error.status === 504 || error.status === 0;
      notice("bad", line, unknown ? `Outcome unknown: ${error.message}. Look before you do it again.` : error.message);
    }
  },
  /** The same after a question. */
  confirm(question, path, line, then) {
    const buttons = [h("button", { value: "yes", class: "danger" }, "Yes"), h("button", { autofocus: true }, "No")];
    ask(line, [h("p", { id: "question" }, question), h("p", {}, h("code", {}, line))], buttons, (said) => said && ui.act(path, line, then));
  },
  redraw: () => redraw(),
};

const live = new Live(redraw);
ui.live = live;
let asking = false;

function redraw() {
  draw(at("head"), head(live, token.get() ? [h("button", { type: "button", onclick: forget }, "Forget token")] : []));
  draw(at("banner"), banner(live));
  const [sign, word] = live.status ? health(live.status, live.problem) : ["…", ""];
  document.title = `${sign} ${word} · ${live.status?.cluster || "peercron"}`;
  drawView();
  if (live.denied) refused(live.denied);
}

function drawView() {
  const { view, data, viewProblem } = live;
  if (!view) return;
  const problem = viewProblem && h("p", { class: "alarm bad", key: "problem" }, h("b", {}, "✕ "), viewProblem.message);
  draw(at("main"), problem, data !== null ? view.draw(data) : viewProblem ? null : h("p", { class: "quiet" }, "Asking the node …"));
  view.drawn?.();
}

/** `line`: what does the same on a terminal. */
function notice(kind, line, ...content) {
  const shown = h("p", { class: `notice ${kind}` }, h("b", {}, kind === "bad" ? "✕ " : "✓ "), content, h("code", {}, line));
  at("notices").append(shown);
  setTimeout(() => shown.remove(), NOTICE_MS);
}

/** Show a question; `done` is told whether it was answered with yes. */
function ask(key, content, buttons, done) {
  const dialog = at("asked");
  draw(dialog, h("form", { method: "dialog", key }, content, h("div", { class: "buttons" }, buttons)));
  dialog.returnValue = "";
  dialog.onclose = () => done(dialog.returnValue === "yes");
  dialog.showModal();
}

/** Ask for an access token. */
function refused(problem) {
  if (asking) return;
  asking = true;
  live.stop();
  const input = h("input", { type: "password", autocomplete: "off", "aria-label": "Access token", placeholder: "pcr_…", autofocus: true });
  const content = [
    h("p", { id: "question" }, "This cluster wants an access token."),
    h("p", {}, quiet(problem.message)),
    h("p", {}, input),
    h("p", {}, quiet("It stays in this tab, and is forgotten when the tab is closed.")),
  ];
  ask(`token ${Date.now()}`, content, h("button", { value: "yes" }, "Use it"), () => {
    asking = false;
    token.set(input.value.trim());
    live.admit();
  });
}

function forget() {
  token.set("");
  live.start();
}

function route() {
  const [word = "", ...rest] = location.hash.replace(/^#\/?/, "").split("?")[0].split("/");
  const name = decodeURIComponent(rest.join("/"));
  const view = (VIEWS[word] || overview)(ui, name);
  live.show(view);
  at("line").textContent = `peercron ${view.line}`;
  const here = { job: "", run: "runs", queue: "queues" }[word] ?? word;
  draw(
    at("pages"),
    PAGES.map(([path, title]) => h("a", { href: `#/${path}`, "aria-current": path === here ? "page" : null }, title)),
  );
  drawView();
}

/** The line at the foot says what does on a terminal what is pointed at. */
function point(event) {
  const pointed = event.target.closest?.("[data-line]");
  at("line").textContent = pointed ? pointed.dataset.line : `peercron ${live.view.line}`;
}

document.addEventListener("pointerover", point);
document.addEventListener("focusin", point);
window.addEventListener("hashchange", () => {
  route();
  at("main").focus({ preventScroll: true });
  window.scrollTo(0, 0);
});
setInterval(() => document.hidden || tick(), 1000);
route();
live.start();
