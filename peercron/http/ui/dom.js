// Elements, and how a page that is drawn anew becomes the one that is there: what is focused, typed or scrolled stays.
// Whatever comes from the cluster gets into the page as text of a node or of an attribute, never as HTML.

/** An element. `props`: attributes; functions as handlers (onclick); `key`: which of its siblings it was before. */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "key") element.key = value;
    else if (typeof value === "function") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...nodes(children));
  return element;
}

/** Texts and elements, flattened; what is null or false is left out. */
function nodes(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Make the children of `parent` look like `children`, with as little change as can be. */
export function draw(parent, ...children) {
  const wanted = nodes(children).map((child) => (child instanceof Node || child.make ? child : new Text(String(child))));
  const keys = new Set(wanted.map((child) => child.key));
  const keyed = new Map();
  for (const child of [...parent.childNodes]) {
    if (!child.key) continue;
    if (keys.has(child.key)) keyed.set(child.key, child);
    else child.remove(); // first, so that those behind it need not be moved: who is moved loses the focus
  }
  let place = parent.firstChild;
  for (let next of wanted) {
    const there = next.key ? keyed.get(next.key) : place && !place.key ? place : null;
    const same = there && next.make && there.stamp === next.stamp;
    if (next.make && !same) next = Object.assign(next.make(), { key: next.key, stamp: next.stamp });
    if (!same && (!there || there.nodeName !== next.nodeName)) {
      parent.insertBefore(next, place);
      fill(next);
      continue;
    }
    if (there === place) place = place.nextSibling;
    else parent.insertBefore(there, place);
    if (!same) become(there, next);
  }
  while (place) {
    const after = place.nextSibling;
    place.remove();
    place = after;
  }
}

/** Make the rows of tables that are new in the page. */
function fill(element) {
  for (const body of element.querySelectorAll?.("tbody") || []) draw(body, body.rows_to_be);
}

const HANDLERS = ["onclick", "oninput", "onchange", "onsubmit", "onfocus", "onkeydown", "onpointerenter"];

function become(there, next) {
  if (there.nodeType === Node.TEXT_NODE) {
    if (there.nodeValue !== next.nodeValue) there.nodeValue = next.nodeValue;
    return;
  }
  for (const { name } of [...there.attributes]) if (!next.hasAttribute(name) && name !== "open") there.removeAttribute(name);
  for (const { name, value } of next.attributes) if (there.getAttribute(name) !== value) there.setAttribute(name, value);
  for (const name of HANDLERS) there[name] = next[name];
  there.stamp = next.stamp;
  if (!there.hasAttribute("data-own")) draw(there, next.rows_to_be || [...next.childNodes]); // who has its own content draws it
}

/**
 * A table. Columns: [name, row => content, class]; `key` names a row; `empty` is said where there are none; `more`:
 * classes.
 */
export function table(caption, columns, rows, key, empty, more = "") {
  const head = columns.map(([name, , kind]) => h("th", { scope: "col", class: kind }, name));
  const cells = (row) => columns.map(([name, cell, kind]) => h("td", { "data-name": name, class: kind }, cell(row)));
  const body = h("tbody");
  // Of thousands of rows few change: a row that has the same text in JSON is not made again.
  body.rows_to_be = rows.length
    ? rows.map((row) => ({ key: key(row), stamp: JSON.stringify(row), make: () => h("tr", {}, cells(row)) }))
    : [h("tr", { key: "none" }, h("td", { colspan: columns.length, class: "quiet" }, empty))];
  return h(
    "div",
    { class: "table" },
    h("table", { role: "table", class: more }, h("caption", {}, caption), h("thead", {}, h("tr", {}, head)), body),
  );
}

/** A button; `line` is what does the same on a terminal. */
export function button(text, line, onclick, more = {}) {
  return h("button", { type: "button", "data-line": line, title: line, onclick, ...more }, text);
}

/** Something of less weight. */
export function quiet(...children) {
  return h("span", { class: "quiet" }, children);
}

/** Part of a page, known again by its key. */
export function section(key, ...children) {
  return h("section", { key }, children);
}

/** A link to the page of a job, a run, a queue or a namespace. */
export function to(kind, name, text = name) {
  return h("a", { href: `#/${kind}/${encodeURIComponent(name)}` }, text);
}
