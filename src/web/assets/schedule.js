// The crontab's entries: what is due when, on the axis of a day; run one now, pause, resume.

import { entryPath, get, request } from "./api.js";
import { ticks } from "./chart.js";
import { h, icon, replace, svg } from "./dom.js";
import { clockTime, count, duration, parseTime, shellWord, timeElement, ZONE } from "./format.js";
import { on } from "./live.js";
import { badge, changeButton, load, runLink, startEntryAsking, statusWord, tell } from "./parts.js";

const HOUR = 3_600_000;
// The axis shows so many hours before now, and so many after.
const BEFORE = 6;
const AFTER = 24;
const WIDTH = 1000;

export async function show(main, _parameters, signal) {
  const body = h("div");
  replace(main, h("div.page", h("h1", "Schedule"), body));
  const reload = () => load(body, signal, () => get(`/api/schedule?hours=${AFTER}`, signal), (schedule) => {
    const focused = document.activeElement?.dataset?.action;
    if (focused) setTimeout(() => document.querySelector(`[data-action="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true }));
    return view(schedule, reload);
  }, 2);
  let soon = 0;
  const later = () => {
    clearTimeout(soon);
    soon = setTimeout(() => !signal.aborted && reload(), 200);
  };
  for (const type of ["schedule", "run-started", "run-ended", "recovered", "reset"]) on(type, later, signal);
  // The axis moves on with the time.
  const timer = setInterval(later, 60_000);
  signal.addEventListener("abort", () => clearInterval(timer));
  await reload();
}

function view(schedule, reload) {
  const { entries, refused = [] } = schedule;
  const zones = [...new Set(entries.map((entry) => entry.time_zone))].filter((zone) => zone !== ZONE);
  const from = Date.now() - BEFORE * HOUR;
  const to = Date.now() + AFTER * HOUR;
  return [
    h("p.facts", h("span", "From ", h("code", schedule.file)), h("span", `Times here are in ${ZONE}`), zones.length > 0 && h("span", `the crontab's are in ${zones.join(", ")}`)),
    schedule.paused && h("p.hint", icon("stopped"), " The whole schedule is paused: nothing is started by the crontab."),
    refused.length > 0 && h("div.problem", { role: "group", "aria-label": "Error" }, icon("bad"), h("div", h("p", h("strong", "The crontab was changed and has errors. "), "What is below, from before the change, still holds."), h("ul.failures", refused.map((one) => h("li", one.line ? `line ${one.line}: ` : "", one.message))))),
    entries.length ? h("div.entries", axis(from, to), h("ul", entries.map((entry) => row(entry, from, to, reload)))) : h("div.empty", h("p", "The crontab has no entries: nothing runs by itself."), h("p", "A line such as ", h("code", "30 3 * * * backup"), " backs up every volume each day.")),
  ];
}

const place = (time, from, to) => ((time - from) / (to - from)) * WIDTH;

function axis(from, to) {
  const node = h("div.axis", { "aria-hidden": "true" });
  const scale = h("div.scale");
  // Labels must not overlap each other or the edge.
  const [most, room] = innerWidth > 820 ? [12, HOUR] : [5, 4 * HOUR];
  for (const [time, words] of [...ticks(from, to, most), [Date.now(), "now"]]) {
    if (words !== "now" && (Math.abs(time - Date.now()) < room || Math.min(time - from, to - time) < room / 2)) continue;
    const label = h("span", { class: words === "now" ? "now" : null }, words);
    label.style.left = `${place(time, from, to) / 10}%`;
    scale.append(label);
  }
  node.append(scale);
  return node;
}

function row(entry, from, to, reload) {
  const name = [entry.script, ...entry.arguments].map(shellWord).join(" ");
  const act = async (action, words) => {
    try {
      await request("POST", `${entryPath(entry.key)}/${action}`);
      tell(words);
      reload();
    } catch (error) {
      tell(error.message, "bad");
    }
  };
  const runNow = () => startEntryAsking(entry).catch((error) => tell(error.message, "bad"));
  const last = entry.last_run;
  const label = `Line ${entry.line}, ${name}`;
  return h(
    "li",
    { class: entry.paused ? "entry paused" : "entry" },
    h(
      "div.entry-words",
      h("p.entry-name", h("code", h("b", entry.script), entry.arguments.length > 0 && ` ${entry.arguments.map(shellWord).join(" ")}`), entry.dry_run && h("span.tag", "dry run"), entry.paused && h("span.badge.stopped", icon("stopped"), "paused"), entry.running && h("span.badge.running", icon("running"), "running"), entry.waiting && h("span.badge.waiting", icon("waiting"), "waiting")),
      h("p.faint", h("code", entry.schedule), ` · line ${entry.line}`, entry.time_zone !== ZONE && ` · in ${entry.time_zone}`, ` · at most ${duration(entry.timeout_seconds)}`, entry.jitter_seconds > 0 && ` · up to ${duration(entry.jitter_seconds)} later`, !entry.catch_up && " · no catching up"),
    ),
    h("div.entry-times", h("p", entry.paused ? h("span.faint", "Paused: not started by itself") : ["Next ", timeElement(entry.next)]), h("p.faint", "Last ", last ? [h("a", { href: runLink(last) }, timeElement(last.started)), " ", badge(last.status)] : timeElement(entry.last), entry.missed > 0 && h("span.wrong", ` · missed ${count(entry.missed, "time")}`))),
    h(
      "div.entry-buttons",
      changeButton({ onclick: runNow, "aria-label": `Run now: ${label}`, "data-action": `run ${entry.key}`, disabled: entry.running }, "Run now"),
      entry.paused ? changeButton({ onclick: () => act("resume", "Resumed."), "aria-label": `Resume: ${label}`, "data-action": `pause ${entry.key}` }, "Resume") : changeButton({ onclick: () => act("pause", "Paused: it is not started by itself until you resume it."), "aria-label": `Pause: ${label}`, "data-action": `pause ${entry.key}` }, "Pause"),
    ),
    day(entry, from, to),
  );
}

/** An entry's day: a line for each time that it is due, a bar for its last run. */
function day(entry, from, to) {
  const due = entry.upcoming.map((text) => parseTime(text)?.getTime()).filter((time) => time && time < to);
  const last = parseTime(entry.last_run?.started)?.getTime();
  const words = due.length ? `due ${count(due.length, "time")} within a day, at ${due.slice(0, 6).map((time) => clockTime(new Date(time))).join(", ")}${due.length > 6 ? " …" : ""}` : "not due within a day";
  const marks = due.map((time) => `M${place(time, from, to).toFixed(1)} 5v14`).join("");
  const status = entry.last_run?.status;
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} 24`, preserveAspectRatio: "none", class: "day", role: "img", "aria-label": words },
    svg("title", {}, words),
    svg("path", { class: "lane", d: `M0 12H${WIDTH}` }),
    ticks(from, to, 12).map(([time]) => svg("path", { class: "grid", d: `M${place(time, from, to).toFixed(1)} 0V24` })),
    last && last > from && svg("rect", { class: `last ${status}`, x: place(last, from, to).toFixed(1), y: 7, height: 10, width: Math.max(5, place(from + (entry.last_run.took_seconds ?? (Date.now() - last) / 1000) * 1000, from, to)).toFixed(1) }, svg("title", {}, `last run: ${statusWord(status)}, ${clockTime(new Date(last))}`)),
    svg("path", { class: "due", d: marks || "M0 0" }),
    svg("path", { class: "now", d: `M${place(Date.now(), from, to).toFixed(1)} 0V24` }),
  );
}
