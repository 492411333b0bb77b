// What has happened, as it comes.

import { h, table } from "./dom.js";
import { part } from "./ask.js";
import { badge, clock, short, SIGNS } from "./words.js";

const KINDS = ["all", "job", "run", "member", "leader", "health", "lock", "queue", "client", "event", "pool", "calendar", "token", "cluster"];
const HEAD = ["id", "at", "kind", "what", "name", "run"];

export function events(ui) {
  let kind = "all";
  const columns = [
    { name: "At", cell: (event) => clock(event.at) },
    { name: "Kind", cell: (event) => event.kind },
    { name: "What", class: "last", cell: (event) => (SIGNS[event.what] ? badge(event.what) : event.what.replaceAll("_", " ")) },
    { name: "Name", cell: (event) => (event.kind === "job" || event.kind === "run" ? h("a", { href: `#/job/${part(event.name)}` }, short(event.name)) : short(event.name)) },
    { name: "More", class: "reason", cell: more },
  ];
  const choose = (event) => {
    kind = event.target.value;
    ui.redraw();
  };
  return {
    line: "events -f",
    kinds: KINDS,
    load: async () => ui.live.events,
    draw: () => [
      h("div", { class: "choosing" }, h("label", {}, "Kind ", h("select", { onchange: choose }, KINDS.map((each) => h("option", { value: each }, each))))),
      table("The last events, the newest first", columns, ui.live.events.filter((event) => kind === "all" || event.kind === kind).reverse(), (event) => event.id || `${event.at} ${event.name}`, "nothing has happened yet"),
    ],
  };
}

function more(event) {
  const facts = Object.entries(event).filter(([name, value]) => !HEAD.includes(name) && value !== "");
  return [event.run ? [h("a", { href: `#/run/${part(event.run)}` }, event.run), " "] : null, facts.map(([name, value]) => `${name} ${value}`).join(", ")];
}
