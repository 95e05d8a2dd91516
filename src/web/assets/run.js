// One run: how it is, its progress, its error, its result, its log as it grows.

import { get, request, session, shared, start, startEntry } from "./api.js";
import { append, h, icon, replace } from "./dom.js";
import { bytes, clockSeconds, duration, exactTime, parseTime, shellWord, timeElement } from "./format.js";
import { on } from "./live.js";
import { announce, ask, badge, changeButton, failureList, isOpen, load, planList, problemBox, resultView, startAsking, startEntryAsking, statusWord, tell, volumeLink } from "./parts.js";
import { progressBar } from "./progress.js";

// The server sends so many lines at a time; a log has 30,000 at most.
const CHUNK = 1000;

export async function show(main, [id], signal) {
  const path = `/api/runs/${encodeURIComponent(id)}`;
  const [head, progress, outcome, log] = [h("div"), h("div"), h("div"), h("div")];
  replace(main, h("div.page", h("p.back", h("a", { href: "#/runs" }, "← Runs")), head, progress, outcome, log));
  let follower = null;
  let known = null;
  // The read-only role may run scripts again that only read.
  const mayRepeat = async (run) => session.role === "full" || run.dry_run || (await shared("/api/scripts", 60)).scripts.some((one) => one.name === run.script && one.read_only);
  const both = async () => {
    const run = await get(path, signal);
    return { run, may: await mayRepeat(run).catch(() => false) };
  };
  const reload = () => load(head, signal, both, ({ run, may }) => {
    const ended = known && isOpen(known) && !isOpen(run);
    known = run;
    if (ended) announce(`The run ended: ${statusWord(run.status)}.`);
    document.title = `${run.script}: ${statusWord(run.status)} · Convoy Backups`;
    replace(progress, isOpen(run) && progressBar(run.progress));
    replace(outcome, outcomeOf(run));
    follower ??= logView(log, id, run, signal);
    if (!isOpen(run)) follower.end();
    return headOf(run, path, may);
  }, 1);
  on("run-progress", (event) => event.run === id && known && isOpen(known) && replace(progress, progressBar(event)), signal);
  on("run-started", (run) => run.id === id && reload(), signal);
  on("run-ended", (run) => run.id === id && reload(), signal);
  for (const type of ["recovered", "reset"]) on(type, () => (reload(), follower?.catchUp()), signal);
  await reload();
  // There is no such run, or it can't be read: the page has a heading all the same.
  if (!known && !signal.aborted) head.prepend(h("h1", "Run"));
}

function headOf(run, path, may) {
  const fact = (term, ...content) => h("div", h("dt", term), h("dd", content));
  const again = async () => {
    try {
      const entry = run.entry && (await get("/api/schedule?hours=0")).entries.find((one) => one.key === run.entry.key);
      const note = run.entry && !entry ? "The crontab's line is gone, or was changed: it runs without the settings that it had there." : undefined;
      if (run.dry_run) {
        const id = entry ? await startEntry(entry.key, { dry: true }) : await start(run.script, given(run.arguments), { dry: true });
        if (note) tell(note, "warning");
        location.hash = `#/runs/${encodeURIComponent(id)}`;
      } else if (entry && session.role === "full") await startEntryAsking(entry);
      else await startAsking(run.script, given(run.arguments), { note });
    } catch (error) {
      tell(error.message, "bad");
    }
  };
  const cancel = async () => {
    const yes = await ask({ title: `Cancel this run of ${run.script}?`, body: h("p", "It stops as soon as it can. What it has done stays done; what it is in the middle of is given up: a backup that is not complete counts for nothing."), yes: "Cancel the run", no: "Let it go on" });
    if (!yes) return;
    try {
      await request("DELETE", path);
      tell("It was told to stop.", "running");
    } catch (error) {
      tell(error.message, "bad");
    }
  };
  return [
    h("div.run-head", h("h1", run.script), badge(run.status), run.dry_run && h("span.tag", "dry run")),
    h("p.command", h("code", ["convoy-backups", run.script, ...(run.words ?? [])].map(shellWord).join(" "))),
    h("p.buttons", isOpen(run) ? changeButton({ onclick: cancel, class: "danger" }, "Cancel …") : may ? h("button", { type: "button", onclick: again }, "Run again") : changeButton({ onclick: again }, "Run again"), h("a.button", { href: `#/scripts/${encodeURIComponent(run.script)}` }, "The script")),
    run.cancel_requested && isOpen(run) && h("p.hint", icon("stopped"), ` ${run.cancel_requested.by} asked it to stop `, timeElement(run.cancel_requested.at), "."),
    h(
      "dl.facts-grid",
      fact("Started", timeElement(run.started, "not yet")),
      fact(isOpen(run) ? "Running since" : "Took", isOpen(run) ? (parseTime(run.started) ? clockSeconds(parseTime(run.started)) : "–") : duration(run.took_seconds) || "–"),
      fact("By", { cli: "the command line", cron: run.entry ? `the crontab's line ${run.entry.line}` : "the crontab", http: "HTTP" }[run.trigger] ?? run.trigger),
      fact("On", run.host),
      run.bytes !== null && run.bytes !== undefined && fact("Backed up", bytes(run.bytes)),
      run.volumes_done?.length > 0 && fact("Volumes", volumesOf(run.volumes_done)),
      fact("Run", h("code", run.id)),
    ),
  ];
}

/** What was given, without what was left out. */
const given = (parameters) => Object.fromEntries(Object.entries(parameters ?? {}).filter(([, value]) => value !== null));

function volumesOf(names) {
  const links = (part) => part.map((name, index) => [index > 0 && ", ", h("a", { href: volumeLink(name) }, name)]);
  if (names.length <= 12) return links(names);
  return h("details", h("summary", `${names.length} volumes`), links(names));
}

function outcomeOf(run) {
  const failures = run.failures ?? [];
  return [
    run.reason && h("p.hint", icon("stopped"), ` ${run.reason}`),
    run.error && problemBox(run.error),
    failures.length > 0 && h("section", { "aria-labelledby": "failures-title" }, h("h2", { id: "failures-title" }, `Failed on ${failures.length === 1 ? "one volume" : `${failures.length} volumes`}`), failureList(failures)),
    run.deleted?.length > 0 && h("details", h("summary", run.deleted.length === 1 ? "Deleted 1 thing" : `Deleted ${run.deleted.length} things`), h("ul", run.deleted.map((it) => h("li", `${it.what} `, h("code", it.name))))),
    run.dry_run && !isOpen(run) && h("section", { "aria-labelledby": "plan-title" }, h("h2", { id: "plan-title" }, "What would be done"), planList(run.plan)),
    !isOpen(run) && run.result !== undefined && run.result !== null && h("section", { "aria-labelledby": "result-title" }, h("h2", { id: "result-title" }, "Result"), resultView(run.result)),
  ];
}

/** The log: what there is, then what comes. Follows the end while it is in view; "Pause" holds the picture still. */
function logView(node, id, run, signal) {
  const list = h("ol.log", { role: "log", "aria-live": "off", tabindex: 0, "aria-label": "Log of the run" });
  const note = h("span.faint");
  let last = 0;
  let paused = false;
  let ended = !isOpen(run);
  let busy = false;
  let again = false;
  let held = [];
  const pause = h("button.quiet", { type: "button", "aria-pressed": "false", onclick: () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Go on" : "Pause";
    if (!paused) {
      put(held.splice(0));
      list.scrollTop = list.scrollHeight;
    }
    say();
  } }, "Pause");
  const only = h("select", { id: "log-level", onchange: () => (list.dataset.only = only.value) }, h("option", { value: "all" }, "everything"), h("option", { value: "info" }, "without debug"), h("option", { value: "warn" }, "warnings and errors"));
  const say = () => {
    note.textContent = paused && held.length ? `${held.length} new lines wait` : `${last} ${last === 1 ? "line" : "lines"}${run.lines_left_out ? `, ${run.lines_left_out} left out` : ""}`;
  };
  const line = ({ time, level, target, text }) => {
    const date = parseTime(time);
    return h("li", { class: level }, h("time", { datetime: time, title: date ? `${exactTime(date)} · ${target ?? ""}` : null }, date ? clockSeconds(date) : ""), h("span.level", level), h("span.text", text));
  };
  const put = (lines) => {
    const follows = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    append(list, lines.map(line));
    if (follows && !ended) list.scrollTop = list.scrollHeight;
  };
  const add = (lines) => {
    const fresh = lines.filter((one) => one.number > last);
    if (!fresh.length) return;
    last = fresh.at(-1).number;
    if (paused) held.push(...fresh);
    else put(fresh);
    say();
  };
  /** Fetches what is missing, up to the end of what there is. */
  async function catchUp() {
    if (busy) return void (again = true);
    busy = true;
    try {
      do {
        again = false;
        let part;
        do {
          part = await get(`/api/runs/${encodeURIComponent(id)}/log?after=${last}&limit=${CHUNK}`, signal);
          add(part.lines);
        } while (part.lines.length >= CHUNK && !signal.aborted);
      } while (again && !signal.aborted);
      if (!last && ended) replace(list, h("li.faint", "It logged nothing."));
    } catch (error) {
      if (!signal.aborted && error.code !== "offline" && error.status !== 401) append(list, [h("li", problemBox(error, h("button", { type: "button", onclick: (event) => (event.target.closest("li").remove(), catchUp()) }, "Try again")))]);
    } finally {
      busy = false;
    }
  }
  on("run-line", (event) => {
    if (event.run !== id) return;
    // Lines are missing, or are being fetched: fetch them in order.
    if (busy || event.number !== last + 1) catchUp();
    else add([event]);
  }, signal);
  pause.hidden = ended;
  replace(node, h("section", { "aria-labelledby": "log-title" }, h("div.bar", h("h2", { id: "log-title" }, "Log"), note, h("span.grow"), h("label.unseen", { for: "log-level" }, "Lines to show"), only, pause), list));
  say();
  catchUp();
  return {
    catchUp,
    end() {
      const before = ended;
      ended = true;
      pause.hidden = !paused;
      if (!before) catchUp();
    },
  };
}
