// Makes elements. Text goes in as text nodes only: no string is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  append(node, children);
  return node;
}

/** Appends nodes and texts; lists are flattened, `null`, `undefined` and `false` left out. */
export function append(node, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(node, child);
    else node.append(child);
  }
  return node;
}

/** An element: `h("p", { class: "note", onclick: go }, "text", node)`. A class can follow the name: `h("p.note")`. */
export function h(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  if (attributes && (attributes instanceof Node || typeof attributes !== "object" || Array.isArray(attributes))) {
    return append(node, [attributes, ...children]);
  }
  return fill(node, attributes, children);
}

/** An element of SVG. */
export function svg(name, attributes, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

/** Empties an element and puts these into it. */
export function replace(node, ...children) {
  node.replaceChildren();
  return append(node, children);
}

// Drawn on a grid of 16, filled or as lines.
const SHAPES = {
  good: ["M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm3.6 5.3-4.3 4.9-2.9-2.6 1-1.1 1.8 1.6 3.3-3.8Z", true],
  warning: ["M8 1.2 15.6 14.6H.4Zm-.8 4.9v4.2h1.6V6.1Zm0 5.3V13h1.6v-1.6Z", true],
  bad: ["M5 1h6l4 4v6l-4 4H5l-4-4V5Zm.2 5.1L7 8l-1.9 1.9 1.1 1.1L8 9.1 9.9 11 11 9.9 9.1 8 11 6.1 9.9 5 8 6.9 6.2 5Z", true],
  running: ["M8 2a6 6 0 1 1-6 6", false],
  waiting: ["M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2ZM8 4.5V8l2.5 1.5", false],
  stopped: ["M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1ZM4.5 7h7v2h-7Z", true],
  unknown: ["M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2ZM5.5 8h5", false],
  overview: ["M2 8.5 8 3l6 5.5M4 7.5V13h8V7.5", false],
  restore: ["M3 3v4h4M3.3 7A5.5 5.5 0 1 1 3 10M8 6v3l2 1.3", false],
  runs: ["M2 4h2M6 4h8M2 8h2M6 8h8M2 12h2M6 12h8", false],
  schedule: ["M2.5 3.5h11v10h-11ZM2.5 6.5h11M5.5 2v3M10.5 2v3", false],
  scripts: ["M6 4 2 8l4 4M10 4l4 4-4 4", false],
};

/** A small picture, hidden from screen readers: the text beside it says the same. */
export function icon(name) {
  const [path, filled] = SHAPES[name];
  return svg(
    "svg",
    { viewBox: "0 0 16 16", class: `icon icon-${name}`, "aria-hidden": "true", width: 16, height: 16 },
    svg("path", filled ? { d: path, fill: "currentColor", "fill-rule": "evenodd" } : { d: path, fill: "none", stroke: "currentColor", "stroke-width": 1.6, "stroke-linecap": "round", "stroke-linejoin": "round" }),
  );
}
