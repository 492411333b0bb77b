// What is above every page: how the cluster is, and what is wrong.

import { h, quiet } from "./dom.js";
import { away } from "./words.js";

/** The head: cluster, leader, term, voters, losses. */
export function head(live, actions) {
  const { status, problem } = live;
  if (!status) return [h("strong", { class: "name" }, "peercron"), quiet(problem ? problem.message : "…")];
  const [sign, word] = health(status, problem);
  return [
    h("strong", { class: "name" }, status.cluster),
    h("span", { class: `state ${word}`, id: "health" }, `${sign} ${word}`),
    fact("leader", status.leader || "none"),
    fact("term", status.term),
    fact("voters", `${status.voters}, quorum ${status.quorum}`),
    fact("survives", status.survives === 1 ? "1 more loss" : `${status.survives} more losses`),
    fact("this page is from", status.node),
    h("span", { class: "quiet live" }, live.streaming ? "● live" : "○ asking now and then"),
    ...actions,
  ];
}

function fact(name, value) {
  return h("span", { class: "fact" }, quiet(`${name} `), h("b", {}, String(value)));
}

/** Sign and word of how it is. */
export function health(status, problem) {
  if (problem) return ["✕", "unknown"];
  if (!status.leader) return ["✕", "no leader"];
  return status.healthy ? ["✓", "healthy"] : ["!", "degraded"];
}

/** What everybody has to see: no answer, no leader, a pause, and the notes of the node. */
export function banner(live) {
  const { status, problem } = live;
  const told = [];
  if (problem) {
    const since = live.answeredAt ? h("span", { "aria-live": "off" }, "What is below is of ", away(new Date(live.answeredAt).toISOString()), ". ") : "";
    told.push(alarm("bad", `${status ? `${status.node}: ` : ""}${problem.message}. The page goes on by itself when it does.`, [since, others(status)]));
  } else if (status && !status.leader) {
    told.push(alarm("bad", "No leader: nothing can be changed, and only slices go on, until a majority of the voters reach each other.", [missing(status), others(status)]));
  }
  if (!problem && status) {
    if (status.paused) told.push(alarm("warn", "All schedules are paused: slots are skipped until `peercron resume`."));
    const unwell = status.leader ? status.members.filter(({ state }) => !WELL.includes(state)) : [];
    for (const member of unwell) told.push(alarm("warn", `${member.name || member.address} is ${member.state}${risk(status)}`));
    const said = (note) => note.startsWith(NO_LEADER) || unwell.some((member) => note.startsWith(`${member.name} has not been heard of`));
    for (const note of status.notes.filter((note) => !said(note))) told.push(alarm("warn", note));
  }
  return told;
}

/** States of members that are as they should be. */
export const WELL = ["leader", "follower", "learner", "invited", "removed"];

const NO_LEADER = "no leader: ";

/** What the node says of it. */
function missing(status) {
  const note = status.notes.find((each) => each.startsWith(NO_LEADER));
  return note ? `Now ${note.slice(NO_LEADER.length)}. ` : "";
}

function risk(status) {
  return status.survives ? "" : ": the loss of one more stops everything that needs a majority";
}

function alarm(kind, text, more = []) {
  return h("p", { class: `alarm ${kind}`, key: text }, h("b", {}, kind === "bad" ? "✕ " : "! "), text, " ", more);
}

/** Links to the same page of the other nodes. */
function others(status) {
  const rows = (status?.members || []).filter((member) => member.http && member.name !== status.node);
  if (!rows.length) return [];
  return ["Or go to ", rows.map((member, n) => [n ? ", " : "", h("a", { href: page(member) }, member.name)]), "."];
}

/** The dashboard of a member. */
export function page(member) {
  return `${location.protocol}//${member.http}/${location.hash}`;
}
