// Pictures of time: a volume's snapshots and backups, and how its backups grow.

import { h, replace, svg } from "./dom.js";
import { bytes, clockTime, count, exactTime, parseTime, relativeTime } from "./format.js";

const DAY = 86_400_000;
const RANGES = [["7 days", 7], ["30 days", 30], ["1 year", 365], ["All", Infinity]];
const WIDTH = 1000;
const LEFT = 92;

/** Round times between two, at most about eight, with words for each. */
export function ticks(from, to, most = 8) {
  const span = to - from;
  const hours = [1, 2, 3, 6, 12, 24, 48, 96, 168, 336].find((step) => span / (step * 3_600_000) <= most);
  const list = [];
  const at = new Date(from);
  if (hours) {
    at.setMinutes(0, 0, 0);
    if (hours >= 24) at.setHours(0);
    else at.setHours(Math.ceil(at.getHours() / hours) * hours);
    while (at <= to) {
      if (at >= from) list.push([at.getTime(), hours < 24 && at.getHours() !== 0 ? clockTime(at) : at.toLocaleDateString("en-GB", { day: "numeric", month: "short" })]);
      if (hours >= 24) at.setDate(at.getDate() + hours / 24);
      else at.setHours(at.getHours() + hours);
    }
  } else {
    const months = [1, 2, 3, 6, 12, 24, 60].find((step) => span / (step * 30 * DAY) <= most) ?? 120;
    at.setDate(1);
    at.setHours(0, 0, 0, 0);
    while (at <= to) {
      if (at >= from) list.push([at.getTime(), at.toLocaleDateString("en-GB", months >= 12 ? { year: "numeric" } : { month: "short", year: at.getMonth() === 0 ? "numeric" : undefined })]);
      at.setMonth(at.getMonth() + months);
    }
  }
  return list;
}

/** Items (`kind`, `name`, `time`, `decision`) on a line each for snapshots and backups. One tab stop; arrow keys go from item to item. */
export function timeline(items) {
  const dated = items.filter((item) => item.time).sort((a, b) => a.time - b.time);
  const oldest = dated[0]?.time.getTime() ?? Date.now();
  const holder = h("div.timeline");
  const note = h("p.timeline-note", { "aria-live": "polite" });
  const needed = (Date.now() - oldest) / DAY;
  const fitting = RANGES.findIndex(([, days]) => needed <= days * 1.05);
  // A month is what fits; where little happened in it, all of it is shown.
  const within = (days) => dated.filter((item) => Date.now() - item.time <= days * DAY).length;
  let chosen = fitting >= 0 && fitting < 2 ? fitting : within(30) > 3 ? 1 : RANGES.length - 1;
  const buttons = RANGES.map(([name], index) => h("button.quiet", { type: "button", onclick: () => draw(index) }, name));
  const draw = (index) => {
    chosen = index;
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(at === chosen)));
    const to = Date.now();
    const from = Math.min(Math.max(oldest - DAY / 4, to - RANGES[chosen][1] * DAY), to - DAY / 2);
    replace(holder, picture(dated.filter((item) => item.time >= from), from, to, note));
    note.textContent = HELP;
  };
  draw(chosen);
  return h("div", h("div.bar", h("div.ranges", { role: "group", "aria-label": "How far back" }, buttons), legend(items)), holder, note);
}

const HELP = "Point at a mark, or use the arrow keys in the picture, to see what it is and why it stays.";

function legend(items) {
  const decided = items.some((item) => item.decision);
  const sign = (shape, text) => h("span", svg("svg", { viewBox: "-8 -8 16 16", width: 14, height: 14, "aria-hidden": "true", class: "marks" }, mark(...shape)), text);
  return h("p.legend", sign(["snapshot", true], "snapshot"), sign(["backup", true], "backup"), decided && sign(["backup", false], "goes at the next prune"));
}

/** A snapshot is a circle, a backup a square; one that goes is hollow and struck through. */
function mark(kind, keep, attributes) {
  const shape = kind === "snapshot" ? svg("circle", { r: 4.5 }) : svg("rect", { x: -5, y: -5, width: 10, height: 10, rx: 1.5 });
  return svg("g", { class: `mark ${kind} ${keep ? "keep" : "goes"}`, ...attributes }, shape, !keep && svg("path", { d: "M-7 7 7-7" }));
}

function picture(items, from, to, note) {
  const x = (time) => LEFT + ((time - from) / (to - from)) * (WIDTH - LEFT - 16);
  const rows = { snapshot: 34, backup: 78 };
  const counts = { snapshot: 0, backup: 0 };
  items.forEach((item) => counts[item.kind]++);
  const marks = items.map((item) => mark(item.kind, item.decision?.keep !== false, { transform: `translate(${x(item.time.getTime()).toFixed(1)} ${rows[item.kind]})` }));
  const ring = svg("circle", { r: 10, class: "ring", visibility: "hidden" });
  let current = -1;
  const point = (index) => {
    current = Math.max(0, Math.min(items.length - 1, index));
    const item = items[current];
    ring.setAttribute("transform", marks[current].getAttribute("transform"));
    ring.setAttribute("visibility", "visible");
    replace(note, describe(item));
  };
  const nearest = (event) => {
    const box = image.getBoundingClientRect();
    const scale = WIDTH / box.width;
    const at = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    let best = -1;
    let least = 40;
    items.forEach((item, index) => {
      const distance = Math.hypot(x(item.time.getTime()) - at[0], (rows[item.kind] - at[1]) * 0.7);
      if (distance < least) [best, least] = [index, distance];
    });
    if (best >= 0) point(best);
  };
  const image = svg(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} 128`, class: "marks chart", role: "img", tabindex: 0, "aria-roledescription": "timeline",
      "aria-label": `${count(counts.snapshot, "snapshot")} and ${count(counts.backup, "backup")} between ${exactTime(new Date(from))} and now. Arrow keys go from one to the next.`,
      onpointermove: nearest,
      onpointerdown: nearest,
      onfocus: () => current < 0 && items.length && image.matches(":focus-visible") && point(items.length - 1),
      onblur: () => ring.setAttribute("visibility", "hidden"),
      onkeydown: (event) => {
        const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[event.key];
        if (!step || !items.length) return;
        event.preventDefault();
        point(step === -Infinity ? 0 : step === Infinity ? items.length - 1 : current + step);
      },
    },
    svg("title", {}, "Snapshots and backups over time"),
    ticks(from, to).map(([time, words]) => svg("g", { class: "tick" }, svg("path", { d: `M${x(time).toFixed(1)} 10V102` }), svg("text", { x: x(time).toFixed(1), y: 120, "text-anchor": x(time) > WIDTH - 40 ? "end" : "middle" }, words))),
    svg("path", { class: "lane", d: `M${LEFT} ${rows.snapshot}H${WIDTH}M${LEFT} ${rows.backup}H${WIDTH}` }),
    svg("text", { class: "lane-name", x: 0, y: rows.snapshot + 5 }, `Snapshots`),
    svg("text", { class: "lane-name", x: 0, y: rows.backup + 5 }, `Backups`),
    marks,
    ring,
  );
  return fromTheEnd(h("div.scroll.wide", image));
}

/** On a phone a picture is wider than the page: scrolls to the newest items, at its right. */
function fromTheEnd(node) {
  requestAnimationFrame(() => (node.scrollLeft = node.scrollWidth));
  return node;
}

function describe(item) {
  const words = item.kind === "backup" ? "Backup" : "Snapshot";
  const fate = !item.decision ? "" : item.decision.keep ? `Kept: ${item.decision.reasons.join(", ")}.` : `Goes at the next prune: ${item.decision.reasons.join(", ")}.`;
  return [h("b", `${words} of ${exactTime(item.time)}`), ` (${relativeTime(item.time)}) `, h("code.faint", item.name), fate && h("span.fate", ` ${fate}`)];
}

/** The sizes of a volume's backups over time. */
export function sizesChart(sizes) {
  const points = sizes.map((size) => [parseTime(size.time)?.getTime(), size.bytes]).filter(([time, size]) => time && size !== null);
  if (points.length < 2) return h("p.faint", "Too few backups have a known size.");
  const [from, to] = [points[0][0], points.at(-1)[0]];
  const most = Math.max(...points.map(([, size]) => size), 1);
  const high = 120;
  const x = (time) => LEFT + ((time - from) / (to - from || 1)) * (WIDTH - LEFT - 16);
  const y = (size) => 12 + (1 - size / most) * high;
  const place = ([time, size]) => `${x(time).toFixed(1)} ${y(size).toFixed(1)}`;
  const line = `M${points.map(place).join("L")}`;
  const words = `From ${bytes(points[0][1])} (${relativeTime(new Date(from))}) to ${bytes(points.at(-1)[1])} (${relativeTime(new Date(to))}); the largest was ${bytes(most)}.`;
  return h(
    "figure.sizes",
    fromTheEnd(h("div.scroll.wide", { tabindex: 0, role: "group", "aria-label": "Sizes over time" }, svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} 164`, class: "chart", role: "img", "aria-label": words },
      svg("title", {}, "Size of the backups over time"),
      [0, 0.5, 1].map((part) => svg("g", { class: "tick" }, svg("path", { d: `M${LEFT} ${y(most * part).toFixed(1)}H${WIDTH}` }), svg("text", { x: LEFT - 10, y: (y(most * part) + 4).toFixed(1), "text-anchor": "end" }, bytes(most * part)))),
      ticks(from, to).map(([time, text]) => svg("g", { class: "tick" }, svg("text", { x: x(time).toFixed(1), y: 156, "text-anchor": x(time) > WIDTH - 40 ? "end" : "middle" }, text))),
      svg("path", { class: "area", d: `${line}V${y(0)}H${x(from)}Z` }),
      svg("path", { class: "line", d: line }),
      points.length < 60 && points.map((point) => svg("circle", { class: "dot", cx: x(point[0]).toFixed(1), cy: y(point[1]).toFixed(1), r: 3.5 }, svg("title", {}, `${bytes(point[1])}, ${exactTime(new Date(point[0]))}`))),
    ))),
    h("figcaption.faint", words),
  );
}
