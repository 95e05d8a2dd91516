// What several pages show alike: states, errors, plans, results, dialogs, messages.

import { Problem, dryRunOf, dryRunOfEntry, previewRun, read, session, shared, start, startEntry } from "./api.js";
import { append, h, icon, replace } from "./dom.js";
import { bytes, duration, shellWord, timeElement } from "./format.js";

const byId = (id) => document.getElementById(id);

/** Announces a text to screen readers only. */
export function announce(text) {
  byId("announcer").textContent = text;
}

let hiding = 0;

/** Shows a message at the edge for a while, and announces it to screen readers. */
export function tell(text, kind = "good") {
  const toast = byId("toast");
  replace(toast, icon(kind), h("span", text));
  toast.dataset.kind = kind;
  clearTimeout(hiding);
  hiding = setTimeout(() => toast.replaceChildren(), 7000);
}

const STATES = {
  waiting: ["waiting", "waiting"], running: ["running", "running"], done: ["good", "done"], partial: ["warning", "partial"], failed: ["bad", "failed"],
  cancelled: ["stopped", "cancelled"], "timed-out": ["bad", "timed out"], interrupted: ["bad", "interrupted"], skipped: ["stopped", "skipped"],
};

/** The states that a run can have. */
export const STATUSES = Object.keys(STATES);

/** Whether a run has not ended. */
export const isOpen = (run) => run.status === "running" || run.status === "waiting";

/** A run's state: picture, colour and word. */
export function badge(status) {
  const [kind, word] = STATES[status] ?? ["unknown", status];
  return h(`span.badge.${kind}`, icon(kind), word);
}

/** A run's state as a word. */
export const statusWord = (status) => STATES[status]?.[1] ?? status;

/** A run as a command line: its script and words. */
export const commandOf = (run) => [run.script, ...(run.words ?? [])].map(shellWord).join(" ");

export const runLink = (run) => `#/runs/${encodeURIComponent(run.id)}`;
export const volumeLink = (name) => `#/volumes/${encodeURIComponent(name)}`;

/** A placeholder for a page that is still loading. */
export function skeleton(lines = 1) {
  return h("div.skeleton", { "aria-hidden": "true" }, h("span.bone.title"), h("span.bone.line"), Array.from({ length: lines }, () => h("span.bone.block")));
}

/** Fills a part of the page with what a promise gives: a placeholder before, the error (and "Try again") where it fails. */
export async function load(node, signal, promise, show, lines = 1) {
  if (!node.childElementCount) replace(node, skeleton(lines));
  node.setAttribute("aria-busy", "true");
  try {
    const data = await promise();
    if (!signal.aborted) replace(node, show(data));
  } catch (error) {
    if (signal.aborted || error.name === "AbortError" || error.status === 401) return;
    const again = h("button", { type: "button", onclick: () => load(node, signal, promise, show, lines) }, "Try again");
    replace(node, problemBox(error, again));
  } finally {
    node.removeAttribute("aria-busy");
  }
}

/** The place in a script where something went wrong, with the source line and a caret under the column (from 1, in characters). */
export function sourcePlace(location) {
  if (!location) return null;
  const { file, line, column, source = "" } = location;
  const where = [file, line, column].filter(Boolean).join(":");
  if (!source.trim()) return h("p.place", "at ", h("code", where));
  const characters = [...source.trimEnd()];
  let code;
  if (column) {
    const at = Math.min(column - 1, characters.length);
    code = [characters.slice(0, at).join(""), h("mark.caret", characters[at] ?? " "), characters.slice(at + 1).join("")];
  } else code = characters.join("");
  const spoken = column ? `Line ${line}, column ${column}` : `Line ${line}`;
  return h("figure.place", h("figcaption", "at ", h("code", where)), h("pre", { tabindex: 0, "aria-label": spoken }, h("span.line-number", { "aria-hidden": "true" }, String(line)), h("code", code)));
}

/** An error with all that is known of it: words, hint, the request that failed, the place in the script. */
export function problemBox(error, ...more) {
  const known = error instanceof Problem || error.code || error.message;
  const message = known ? (error.message ?? error.detail) : String(error);
  if (error instanceof Error && !(error instanceof Problem)) console.error(error);
  return h(
    "div.problem",
    { role: "group", "aria-label": "Error" },
    icon("bad"),
    h(
      "div",
      h("p.problem-words", h("strong", "Error: "), message),
      error.hint && h("p.hint", h("strong", "Hint: "), error.hint),
      error.request && !String(message).startsWith(error.request) && h("p.faint", "while asking the daemon: ", h("code", error.request)),
      // A line of a built-in script does not help here; the page of the run shows it.
      !(error instanceof Problem && / \(built in\)$/.test(error.location?.file)) && sourcePlace(error.location),
      error.failures?.length > 0 && failureList(error.failures),
      error.run && h("p", h("a", { href: `#/runs/${encodeURIComponent(error.run)}` }, "See the run and its log")),
      more.length > 0 && h("p.buttons", more),
    ),
  );
}

/** What failed on the way, a volume each. */
export function failureList(failures) {
  return h("ul.failures", failures.map((failure) => h("li", failure.volume && h("a", { href: volumeLink(failure.volume) }, failure.volume), failure.volume && ": ", failure.message, failure.hint && h("span.hint", " — ", failure.hint))));
}

/** A sentence of the server's, which names a run at its end as the command line would show it: with a link to the run instead. */
export function withRun(text) {
  const [, words, id] = /^([\s\S]*) \(convoy-backups runs show ([\w.-]+)\)$/.exec(text) ?? [];
  return id ? [words, " (", h("a", { href: `#/runs/${id}` }, "see the run"), ")"] : text;
}

/** Problems or notes, each with its sign. */
export const remarks = (texts, kind, label) => h("ul.remarks", { class: kind === "warning" ? "remarks bad" : "remarks", "aria-label": label }, texts.map((text) => h("li", icon(kind), h("span", withRun(text)))));

/** What would be done, in order. */
export function planList(plan) {
  if (!plan?.length) return h("p.faint", "Nothing would be changed.");
  return h("ol.plan", plan.map((step) => h("li", { class: /^delete_|^remove_/.test(step.operation ?? "") ? "gone" : null }, sentence(step.text ?? JSON.stringify(step)))));
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** A result: a table where it is a list of maps, else JSON; both on demand. */
export function resultView(result) {
  if (result === undefined || result === null) return h("p.faint", "It returned nothing.");
  const json = () => h("pre.json", { tabindex: 0, "aria-label": "The result as JSON" }, JSON.stringify(result, null, 2));
  const rows = Array.isArray(result) ? result : null;
  if (rows && !rows.length) return h("p.faint", "An empty list.");
  if (!rows?.every((row) => row && typeof row === "object" && !Array.isArray(row))) return json();
  const columns = [...new Set(rows.flatMap(Object.keys))];
  const cell = (value) => (value === undefined || value === null ? "" : Array.isArray(value) && value.every((one) => typeof one !== "object") ? value.join(", ") : typeof value === "object" ? JSON.stringify(value) : typeof value === "boolean" ? (value ? "yes" : "no") : String(value));
  const body = h("tbody");
  const limit = 200;
  const fill = (part) => append(body, part.map((row) => h("tr", columns.map((column) => h("td", cell(row[column]))))));
  fill(rows.slice(0, limit));
  const table = h("div.scroll", { tabindex: 0, role: "region", "aria-label": "The result as a table" }, h("table.data", h("thead", h("tr", columns.map((column) => h("th", { scope: "col" }, column)))), body));
  const holder = h("div", table);
  const more = rows.length > limit && h("button", { type: "button", onclick: () => (fill(rows.slice(limit)), more.remove()) }, `Show all ${rows.length}`);
  const toggle = h("button.quiet", { type: "button", "aria-pressed": "false", onclick: () => {
    const asJson = toggle.getAttribute("aria-pressed") === "false";
    toggle.setAttribute("aria-pressed", String(asJson));
    replace(holder, asJson ? json() : [table, more]);
  } }, "As JSON");
  append(holder, [more]);
  return h("div", h("p.buttons.end", h("span.faint", `${rows.length} ${rows.length === 1 ? "item" : "items"}`), toggle), holder);
}

/** A text that can be copied. */
export function copyable(text, label) {
  const button = h("button.quiet", { type: "button", "aria-label": `Copy: ${label}`, onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      tell("Copied");
    } catch {
      // Without TLS there is no clipboard: select it, so that Ctrl-C does.
      getSelection().selectAllChildren(code);
      tell("Selected: press Ctrl-C to copy", "warning");
    }
  } }, "Copy");
  const code = h("code", text);
  return h("div.copyable", h("pre", { tabindex: 0, "aria-label": label }, code), button);
}

const READ_ONLY = "You are signed in with the read-only token: sign in with the full one for this.";

/** A button for what changes something: disabled, with the reason, where the role may only read. */
export function changeButton(attributes, ...label) {
  const may = session.role === "full";
  return h(
    "button",
    { type: "button", ...attributes, onclick: may ? attributes.onclick : () => tell(READ_ONLY, "warning"), "aria-disabled": may ? null : "true", title: may ? attributes.title : READ_ONLY },
    label,
  );
}

/** Asks once, in a dialog; whether the answer was yes. `body` may still be filled while it is open; `ready` settles when it is. */
export function ask({ title, body, yes, no = "No, keep everything", danger = true, ready = Promise.resolve(true) }) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    const confirm = h("button", { type: "button", class: danger ? "danger" : "primary", disabled: true, onclick: () => close(true) }, yes);
    const refuse = h("button", { type: "button", onclick: () => close(false) }, no);
    const dialog = h("dialog", { "aria-labelledby": "ask-title", oncancel: () => close(false) }, h("h2", { id: "ask-title" }, title), body, h("p.buttons.end", refuse, confirm));
    const close = (answer) => {
      if (!dialog.isConnected) return;
      dialog.close();
      dialog.remove();
      if (before?.isConnected) before.focus();
      resolve(answer);
    };
    document.body.append(dialog);
    dialog.showModal();
    refuse.focus();
    addEventListener("hashchange", () => close(false), { once: true });
    ready.then((may) => (confirm.disabled = !may), () => {});
  });
}

/** The words of a crontab's line as a form, which the server reads as the command line does. `null` where a word is no option. */
export function formOf(words) {
  const form = new URLSearchParams();
  for (let index = 0; index < words.length; index++) {
    const [, name, value] = /^--([^=]+)(?:=(.*))?$/s.exec(words[index]) ?? [];
    if (!name) return null;
    const next = words[index + 1];
    if (value !== undefined) form.append(name, value);
    else if (next !== undefined && !/^--./.test(next)) form.append(name, words[++index]);
    else if (name.startsWith("no-")) form.append(name.slice(3), "false");
    else form.append(name, "true");
  }
  return form;
}

// After so many milliseconds the script can be run without waiting for the end of its dry run.
const DRY_RUN_TIMEOUT = 5000;

/**
 * Starts a script and goes to its run. Where it would delete something that its user may not think of, asks first, with the dry
 * run's plan. The run's id, or `null` where the answer was no. Errors are the caller's.
 */
export async function startAsking(script, body, { go = true, note } = {}) {
  const volume = body instanceof URLSearchParams ? body.get("volume") : body.volume;
  if ((await needsAsking(script)) && !(await mayDelete(script, dryRunOf(script), { body, volume, note }))) return null;
  const run = await start(script, body);
  tell(`Started: ${script}${note ? `. ${note}` : ""}`, "running");
  if (go && run) location.hash = `#/runs/${encodeURIComponent(run)}`;
  return run;
}

/** The same for an entry of the crontab: by the entry's own route, so that the run and its dry run have the entry's settings. */
export async function startEntryAsking(entry) {
  // The entry's settings may name another folder of scripts than the program's, and a script may have been added since the crontab was read.
  const asks = !entry.dry_run && (entry.may_delete || (await needsAsking(entry.script, false)));
  const volume = formOf(entry.arguments)?.get("volume");
  if (asks && !(await mayDelete(entry.script, dryRunOfEntry(entry.key), { volume }))) return null;
  const run = await startEntry(entry.key);
  tell(`Started: ${entry.script}`, "running");
  location.hash = `#/runs/${encodeURIComponent(run)}`;
  return run;
}

/** Whether a script may delete what its user does not think of, as far as it says what it does. */
async function needsAsking(script, otherwise = true) {
  const known = (await shared("/api/scripts", 60)).scripts.find((one) => one.name === script);
  return known ? known.may_delete !== false : otherwise;
}

/**
 * Asks whether a script that could delete something may be run now, and shows the plan of its dry run. Says so where the dry run fails
 * or takes long.
 */
async function mayDelete(script, path, { body, volume, note }) {
  const gone = h("div", { "aria-live": "polite" }, h("p.faint", "Looking at what would be deleted …"));
  const preview = new AbortController();
  const unknown = (words) => h("p.hint", icon("warning"), ` ${words} Run it only if you know what it does.`);
  const plan = previewRun(path, body, preview.signal).then(({ plan }) => {
    const deleted = (plan ?? []).filter((step) => /^(delete|remove|forget)_/.test(step.operation ?? ""));
    const harmless = deleted.length === 0;
    replace(gone, h("p", harmless ? "Nothing would be deleted." : deleted.length === 1 ? "This will be gone for good:" : `These ${deleted.length} will be gone for good:`), h("div.scroll.short", { tabindex: 0, role: "region", "aria-label": "The plan" }, planList(harmless ? plan : deleted)));
  }).catch((error) => error.name !== "AbortError" && replace(gone, problemBox(error), unknown("The dry run failed, so what would be deleted is not known.")));
  const late = new Promise((resolve) => setTimeout(resolve, DRY_RUN_TIMEOUT)).then(() => gone.querySelector(".faint") && append(gone, [unknown("The dry run goes on: what would be deleted is not known yet.")]));
  const answer = await ask({ title: volume ? `Run ${script} on "${volume}"?` : `Run ${script}?`, body: [note && h("p.hint", icon("warning"), ` ${note}`), gone], yes: `Run ${script}`, ready: Promise.race([plan, late]).then(() => true) });
  preview.abort();
  return answer;
}

/** A run in a list, as cells. */
export function runCells(run) {
  return [
    h("td", { role: "cell", class: "run-status" }, badge(run.status)),
    h("td", { role: "cell", class: "run-command" }, h("a", { href: runLink(run) }, h("b", run.script)), h("code.faint", (run.words ?? []).map(shellWord).join(" ")), run.dry_run && h("span.tag", "dry run"), reasonOf(run)),
    h("td", { role: "cell", class: "run-started" }, timeElement(run.started)),
    h("td", { role: "cell", class: "run-took" }, isOpen(run) ? "" : duration(run.took_seconds)),
    h("td", { role: "cell", class: "run-bytes" }, bytes(run.bytes)),
    h("td", { role: "cell", class: "run-trigger" }, { cli: "command line", cron: "crontab", http: "HTTP" }[run.trigger] ?? run.trigger),
  ];
}

function reasonOf(run) {
  const words = run.error?.message ?? run.reason ?? (run.failures?.length ? `${run.failures[0].volume}: ${run.failures[0].message}${run.failures.length > 1 ? ` (and ${run.failures.length - 1} more)` : ""}` : null);
  return words && h("span.reason", words);
}

/** The head of a table of runs. */
export const runHead = () => h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ["Status", "Script", "Started", "Took", "Backed up", "By"].map((name) => h("th", { scope: "col", role: "columnheader" }, name))));

/** The names of all volumes that are known, for pickers. */
export async function volumeNames() {
  const names = new Set((await shared("/api/status", 20)).volumes.map((volume) => volume.name));
  return [...names].sort();
}

/** Reads all volumes of the daemon. */
export const volumes = (signal) => read("volumes", {}, signal);
