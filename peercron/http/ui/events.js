// What has happened, as it comes.

import { h, table, to } from "./dom.js";
import { badge, clock, short, SIGNS } from "./words.js";

const KINDS = ["all", "job", "run", "member", "leader", "health", "lock", "queue", "client", "event", "pool", "calendar", "token", "cluster"];
const HEAD = ["id", "at", "kind", "what", "name", "run"];

export function events(ui) {
  let kind = "all";
  const columns = [
    ["At", (event) => clock(event.at)],
    ["Kind", (event) => event.kind],
    ["What", (event) => (SIGNS[event.what] ? badge(event.what) : event.what.replaceAll("_", " ")), "last"],
    ["Name", (event) => (event.kind === "job" || event.kind === "run" ? to("job", event.name, short(event.name)) : short(event.name))],
    ["More", more, "reason"],
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
  return [event.run ? [to("run", event.run), " "] : null, facts.map(([name, value]) => `${name} ${value}`).join(", ")];
}
