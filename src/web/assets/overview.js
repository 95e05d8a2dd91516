// Overview: is everything safe? One sentence, then each volume, those with problems first.

import { forget, get, shared } from "./api.js";
import { h, icon, replace, svg } from "./dom.js";
import { bytes, count, parseTime, relativeTime, timeElement, duration } from "./format.js";
import { on } from "./live.js";
import { load, problemBox, remarks, volumeLink, withRun } from "./parts.js";

// So many rows are made before the first paint; the rest follows right after it.
const AT_ONCE = 24;
// From so many volumes on there is a box to filter them.
const FILTER_FROM = 12;

export async function show(main, _parameters, signal) {
  const view = h("div");
  replace(main, h("div.page", view));
  const state = { rows: new Map(), filter: "", body: null, list: null };
  const ask = (fresh) => {
    if (!fresh) return shared("/api/status", 2);
    forget("/api/status");
    return get("/api/status?fresh=true", signal);
  };
  const display = (status) => build(status, state, look, signal);
  async function look(fresh) {
    try {
      const status = await ask(fresh);
      if (signal.aborted) return;
      if (state.body && status.volumes.length) update(view, status, state, look, signal);
      else replace(view, display(status));
    } catch (error) {
      if (!signal.aborted && error.code !== "offline" && error.status !== 401) replace(view, h("h1", "The state is not known"), problemBox(error, h("button", { type: "button", onclick: () => look(true) }, "Try again")));
    }
  }
  on("status", () => look(false), signal);
  on("recovered", () => look(false), signal);
  on("reset", () => look(false), signal);
  await load(view, signal, () => ask(false), display, 2);
  // How long that took, for benches/http.sh.
  requestAnimationFrame(() => performance.mark("overview"));
}

function head(status, look) {
  const again = h("button.quiet", { type: "button", onclick: async () => {
    again.disabled = true;
    await look(true);
  } }, "Look again");
  return h(
    "header.lead",
    h("h1", { class: `sentence ${status.level}` }, icon(status.level), h("span", status.sentence)),
    h("p.facts", h("span", "Looked ", timeElement(status.looked, "at an unknown time")), status.daemon && h("span", "Daemon: ", status.daemon), h("span", status.destination ? ["Backups go to ", h("code", status.destination)] : "No backup destination is set"), again),
    status.daemon_error && problemBox(status.daemon_error),
    status.problems.length > 0 && remarks(status.problems, "warning", "Problems"),
    status.notes.length > 0 && notes(status.notes),
  );
}

function notes(texts) {
  const list = remarks(texts, "unknown", "Notes");
  return texts.length < 4 ? list : h("details", h("summary", count(texts.length, "note")), list);
}

function build(status, state, look, signal) {
  state.rows.clear();
  state.head = h("div", head(status, look));
  if (!status.volumes.length) {
    state.body = null;
    return [state.head, !status.daemon_error && h("div.empty", h("p", "There are no volumes yet. Create one, and it shows up here with its snapshots and backups:"), h("pre", h("code", "docker volume create --driver convoy vol1")), h("p", "or ", h("a", { href: "#/scripts/create" }, "run the script \"create\""), "."))];
  }
  state.body = h("tbody", { role: "rowgroup" });
  state.count = h("span.faint", { "aria-live": "polite" });
  const box = h("input", { type: "search", id: "filter", placeholder: "Filter by name or problem", autocomplete: "off", spellcheck: "false", oninput: () => {
    state.filter = box.value.toLowerCase();
    filter(state);
  } });
  box.value = state.filter;
  rows(status, state, signal);
  return [
    state.head,
    h("section", { "aria-labelledby": "volumes-title" },
      h("div.bar", h("h2", { id: "volumes-title" }, "Volumes"), state.count, status.volumes.length >= FILTER_FROM && h("label.grow", h("span.unseen", "Filter the volumes"), box)),
      h("table.volumes", { role: "table" }, h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ["Volume", "Last snapshot", "Last good backup", "Next backup", "Backup size"].map((name) => h("th", { scope: "col", role: "columnheader" }, name)))), state.body)),
  ];
}

function update(view, status, state, look, signal) {
  replace(state.head, head(status, look));
  rows(status, state, signal);
}

/** Brings the rows in line with the status; a row whose volume did not change stays as it is. */
function rows(status, state, signal) {
  const order = new Map(status.volumes.map((volume) => [volume.name, volume.summary.order]));
  const sorted = [...status.volumes].sort((a, b) => order.get(a.name) - order.get(b.name) || (a.name < b.name ? -1 : 1));
  const focused = document.activeElement?.closest?.("tr")?.dataset.volume;
  const there = new Map();
  state.total = sorted.length;
  const place = (volume, index) => {
    const text = JSON.stringify(volume);
    const known = state.rows.get(volume.name);
    const row = known?.text === text ? known.row : rowOf(volume);
    if (known && known.row !== row) known.row.replaceWith(row);
    there.set(volume.name, { row, text });
    if (state.body.children[index] !== row) state.body.insertBefore(row, state.body.children[index] ?? null);
  };
  sorted.slice(0, AT_ONCE).forEach(place);
  const rest = () => {
    if (signal.aborted) return;
    sorted.slice(AT_ONCE).forEach((volume, index) => place(volume, index + AT_ONCE));
    for (const [name, { row }] of state.rows) if (!there.has(name)) row.remove();
    state.rows = there;
    if (focused) state.body.querySelector(`tr[data-volume="${CSS.escape(focused)}"] a`)?.focus({ preventScroll: true });
    filter(state);
  };
  if (sorted.length > AT_ONCE && !state.rows.size) requestAnimationFrame(() => setTimeout(rest));
  else rest();
  if (sorted.length > AT_ONCE) state.count.textContent = count(sorted.length, "volume");
}

function filter(state) {
  let shown = 0;
  for (const { row } of state.rows.values()) {
    const hit = !state.filter || row.dataset.words.includes(state.filter);
    row.hidden = !hit;
    shown += hit;
  }
  state.count.textContent = state.filter ? `${shown} of ${count(state.total, "volume")}` : count(state.total, "volume");
}

function rowOf(volume) {
  const { level: kind, word } = volume.summary;
  const made = volume.last_backup;
  const cell = (name, ...content) => h("td", { role: "cell", "data-label": name }, content);
  const sizes = volume.sizes ?? [];
  return h(
    "tr",
    { role: "row", class: kind, "data-volume": volume.name, "data-words": `${volume.name} ${word} ${volume.problems.join(" ")}`.toLowerCase() },
    h("th", { scope: "row", role: "rowheader" }, h("span.state", icon(kind), h("span.unseen", word), h("a", { href: volumeLink(volume.name) }, volume.name)), kind !== "good" && !volume.problems.length && h("span.remark", { title: volume.backup_sentence }, word)),
    cell("Last snapshot", timeElement(volume.last_snapshot)),
    cell("Last good backup", made ? timeElement(made.made ?? made.snapshot_time) : h("span.faint", "none"), age(volume)),
    cell("Next backup", timeElement(volume.next_backup, "not scheduled")),
    cell("Backup size", sizes.length ? [spark(sizes), h("span.number", bytes(sizes.at(-1).bytes))] : made?.bytes ? h("span.number", bytes(made.bytes)) : h("span.faint", "–")),
    volume.problems.length > 0 && h("td.row-remarks", { role: "cell" }, volume.problems.map((text) => h("span.remark", withRun(text)))),
  );
}

/** How much of the time that a backup may age has passed: a bar, and the same in words. */
export function age(volume, now = Date.now()) {
  const due = parseTime(volume.backup_due_by);
  if (!due) return null;
  const late = due.getTime() < now;
  const from = parseTime(volume.backup_counted_from);
  if (!from && !late) return h("span.age", `due ${relativeTime(due, now)}`);
  const words = late ? `due ${relativeTime(due, now)}` : `good for ${duration((due - now) / 1000)}`;
  const part = from ? Math.min(1, Math.max(0, (now - from) / (due - from))) : 1;
  const length = (part * 64).toFixed(1);
  return h("span.age", { class: late ? "age late" : "age", title: `the next good backup must be there by ${due.toLocaleString("en-GB")}` }, svg("svg", { viewBox: "0 0 64 4", width: 64, height: 4, "aria-hidden": "true" }, svg("rect", { width: 64, height: 4, rx: 2, class: "track" }), svg("rect", { width: length, height: 4, rx: 2, class: "done" })), h("span", words));
}

/** The sizes over time as a line, without axes. */
function spark(sizes) {
  const part = sizes.slice(-30);
  if (part.length < 2) return null;
  const values = part.map((size) => size.bytes);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const points = values.map((value, index) => `${((index / (values.length - 1)) * 70 + 1).toFixed(1)},${(high === low ? 9 : 16 - ((value - low) / (high - low)) * 14).toFixed(1)}`);
  return svg("svg", { viewBox: "0 0 72 18", width: 72, height: 18, class: "spark", role: "img", "aria-label": `from ${bytes(values[0])} to ${bytes(values.at(-1))} over ${values.length} backups` }, svg("polyline", { points: points.join(" ") }));
}
