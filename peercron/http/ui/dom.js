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
  const wanted = nodes(children).map((child) => (child instanceof Node ? child : new Text(String(child))));
  const keyed = new Map([...parent.childNodes].filter((child) => child.key).map((child) => [child.key, child]));
  let place = parent.firstChild;
  for (const next of wanted) {
    const there = next.key ? keyed.get(next.key) : place && !place.key ? place : null;
    if (!there || there.nodeName !== next.nodeName) {
      parent.insertBefore(next, place);
      continue;
    }
    if (there === place) place = place.nextSibling;
    else parent.insertBefore(there, place);
    become(there, next);
  }
  while (place) {
    const after = place.nextSibling;
    place.remove();
    place = after;
  }
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
  if (!there.hasAttribute("data-own")) draw(there, [...next.childNodes]); // who has its own content draws it
}

/**
 * A table. Columns: {name, cell: row => content}; `key` names a row; `empty` is said where there are
 * none; `more`: classes.
 */
export function table(caption, columns, rows, key, empty, more = "") {
  const head = columns.map((column) => h("th", { scope: "col", class: column.class }, column.name));
  const body = rows.map((row) =>
    h("tr", { key: key(row) }, columns.map((column) => h("td", { "data-name": column.name, class: column.class }, column.cell(row)))),
  );
  return h(
    "div",
    { class: "table" },
    h(
      "table",
      { role: "table", class: more },
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, head)),
      h("tbody", {}, rows.length ? body : h("tr", { key: "none" }, h("td", { colspan: columns.length, class: "quiet" }, empty))),
    ),
  );
}

/** A button; `line` is what does the same on a terminal. */
export function button(text, line, onclick, more = {}) {
  return h("button", { type: "button", "data-line": line, title: line, onclick, ...more }, text);
}
