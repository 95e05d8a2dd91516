// One volume: is it safe, its snapshots and backups in time and what retention keeps of them, sizes, what ran.

import { dryRun, get, read, shared, withQuery } from "./api.js";
import { sizesChart, timeline } from "./chart.js";
import { append, h, icon, replace } from "./dom.js";
import { bytes, count, exactTime, parseTime, sizeOf, timeElement } from "./format.js";
import { on } from "./live.js";
import { age } from "./overview.js";
import { changeButton, formOf, load, problemBox, remarks, runCells, runHead, startAsking, tell, volumes } from "./parts.js";

// A dry run is made of so many prune lines at most.
const MOST_LINES = 3;

export async function show(main, [name], signal) {
  const [head, items, runs] = [h("div"), h("div"), h("div")];
  const run = (script, body) => async () => {
    try {
      await startAsking(script, body);
    } catch (error) {
      tell(error.message, "bad");
    }
  };
  replace(
    main,
    h(
      "div.page",
      h("p.back", h("a", { href: "#/" }, "← Overview")),
      h("h1.name", name),
      h(
        "p.buttons",
        changeButton({ class: "primary", onclick: run("backup", { volume: name, create_snapshot: true }), title: "Takes a fresh snapshot and backs it up" }, "Back up now"),
        changeButton({ onclick: run("snapshot", { volume: name }) }, "Snapshot now"),
        h("a.button", { href: `#/restore/${encodeURIComponent(name)}` }, "Restore …"),
        changeButton({ class: "danger quiet", onclick: run("remove", { volume: name }), title: "Deletes the volume, its snapshots, and its backups but the newest" }, "Remove …"),
      ),
      head,
      items,
      h("section", { "aria-labelledby": "runs-title" }, h("div.bar", h("h2", { id: "runs-title" }, "Its last runs"), h("a", { href: withQuery("#/runs", { volume: name }) }, "All")), runs),
    ),
  );
  const showHead = () => load(head, signal, () => shared("/api/status", 2), (status) => facts(status, name), 1);
  const showRuns = () => load(runs, signal, () => get(withQuery("/api/runs", { volume: name, changing: true, limit: 8 }), signal), ({ runs: list }) => (list.length ? h("table.runs", { role: "table" }, runHead(), h("tbody", { role: "rowgroup" }, list.map((one) => h("tr", { role: "row" }, runCells(one))))) : h("p.faint", "No run has changed anything of it yet.")), 1);
  const showItems = () => load(items, signal, () => everything(name, signal), (known) => itemsView(known, name), 2);
  on("status", showHead, signal);
  on("run-started", showRuns, signal);
  on("run-ended", (ended) => {
    showRuns();
    if (!ended.dry_run && (ended.volumes_done ?? []).includes(name)) showItems();
  }, signal);
  for (const type of ["recovered", "reset"]) on(type, () => (showHead(), showItems(), showRuns()), signal);
  await Promise.all([showHead(), showItems(), showRuns()]);
}

function facts(status, name) {
  const volume = status.volumes.find((one) => one.name === name);
  if (!volume && status.daemon_error) return h("p.hint", "Whether there is a volume of this name is not known: the daemon does not answer.");
  if (!volume) return h("p.hint", "Neither the daemon nor any run knows a volume of this name now. What backups it has left is below.");
  const { level: kind, word } = volume.summary;
  const fact = (term, ...content) => h("div", h("dt", term), h("dd", content));
  return [
    h("p.verdict", { class: `verdict ${kind}` }, icon(kind), h("b", word)),
    volume.problems.length > 0 && remarks(volume.problems, "warning", "Problems"),
    !volume.problems.length && h(kind === "good" ? "p.faint" : "p.hint", `${volume.backup_sentence[0].toUpperCase()}${volume.backup_sentence.slice(1)}.`),
    volume.notes.length > 0 && remarks(volume.notes, "unknown", "Notes"),
    volume.last_backup?.changed_files > 0 && remarks([`${count(volume.last_backup.changed_files, "file")} changed or went missing while its newest backup was made: a database among them may not open`], "unknown", "What changed"),
    h(
      "dl.facts-grid",
      fact("Last good backup", timeElement(volume.last_backup?.made, "none"), age(volume)),
      fact("Its data is from", timeElement(volume.last_backup?.snapshot_time, "–")),
      fact("Last snapshot", timeElement(volume.last_snapshot)),
      fact("Next snapshot", timeElement(volume.next_snapshot, "not scheduled")),
      fact("Next backup", timeElement(volume.next_backup, "not scheduled")),
    ),
    (volume.sizes ?? []).length > 1 && h("section", { "aria-labelledby": "sizes-title" }, h("h2", { id: "sizes-title" }, "Size of its backups"), sizesChart(volume.sizes)),
  ];
}

/** Its snapshots, its backups, and what the crontab's prune lines would do with them; what can't be read is an error in its place. */
async function everything(name, signal) {
  const settled = (promise) => promise.then((value) => ({ value }), (error) => {
    if (error.status === 401 || error.name === "AbortError") throw error;
    return { error };
  });
  const [listed, backups, kept] = await Promise.all([settled(volumes(signal)), settled(backupsOf(name, signal)), settled(retention(name, signal))]);
  return { listed, backups, kept };
}

/** The backups of one volume, newest first, each with its time. */
export async function backupsOf(name, signal) {
  const backups = await read("backups", { volume: name }, signal);
  return backups.map((backup) => ({ ...backup, time: parseTime(backup.CreatedTime ?? backup.StartTime), taken: parseTime(backup.SnapshotCreatedAt) }));
}

/** What the prune lines that concern this volume keep: decisions by URL or snapshot name; `null` where there is no such line. */
async function retention(name, signal) {
  const { entries } = await shared("/api/schedule");
  const lines = entries.filter((entry) => entry.does.includes("prune") && !entry.dry_run).map((entry) => ({ entry, form: formOf(entry.arguments) }));
  const concerns = lines.filter(({ form }) => form && (!form.has("volume") || form.get("volume") === name)).slice(0, MOST_LINES);
  if (!concerns.length) return null;
  const decisions = new Map();
  for (const { entry, form } of concerns) {
    form.set("volume", name);
    const { result = [] } = await dryRun(entry.script, form, signal);
    for (const item of Array.isArray(result) ? result : []) {
      const key = item.BackupURL ?? item.SnapshotName;
      // What one line deletes is gone, whatever another would have kept.
      if (key && (!decisions.has(key) || !item.Keep)) decisions.set(key, { keep: item.Keep, reasons: item.Reasons ?? [], next: entry.next });
    }
  }
  return { decisions, lines: concerns.map(({ entry }) => entry) };
}

function itemsView({ listed, backups, kept }, name) {
  const volume = listed.value?.find((one) => one.Name === name);
  const decide = (key) => kept.value?.decisions.get(key);
  const snapshots = Object.values(volume?.Snapshots ?? {})
    .map((snapshot) => ({ kind: "snapshot", key: snapshot.Name, name: snapshot.Name, time: parseTime(snapshot.CreatedTime), decision: decide(snapshot.Name) }))
    .sort((a, b) => (b.time ?? 0) - (a.time ?? 0));
  const saved = (backups.value ?? []).map((backup) => ({ kind: "backup", key: backup.BackupURL, name: backup.BackupName ?? backup.BackupURL, time: backup.time, backup, decision: decide(backup.BackupURL) }));
  // Often both fail for one reason, which is shown once.
  const errors = [listed.error, backups.error].filter((error, index, all) => error && all.findIndex((other) => other?.message === error.message) === index);
  const policy = kept.error
    ? h("p.hint", icon("warning"), ` What retention keeps can't be told: ${kept.error.message}`)
    : !kept.value
      ? h("p.faint", "No line of the crontab prunes this volume: all its backups are kept.")
      : h("p.faint", "Kept by ", kept.value.lines.map((entry, index) => [index > 0 && " and ", h("code", [entry.script, ...entry.arguments].join(" ")), h("span", ` (line ${entry.line}`, entry.next && [", next ", timeElement(entry.next)], ")")]));
  return [
    errors.map((error) => problemBox(error)),
    h("section", { "aria-labelledby": "timeline-title" }, h("h2", { id: "timeline-title" }, "Snapshots and backups"), policy, saved.length + snapshots.length ? timeline([...snapshots, ...saved]) : h("p.empty", backups.error || listed.error ? "What there is could not be read." : "It has no snapshots and no backups yet.")),
    saved.length > 0 && h("section", { "aria-labelledby": "backups-title" }, h("div.bar", h("h2", { id: "backups-title" }, "Backups"), h("span.faint", count(saved.length, "backup"))), table(saved, "Made", (item) => h("a", { href: withQuery(`#/restore/${encodeURIComponent(name)}`, { backup: item.key }), "aria-label": `Restore the backup of ${item.time ? exactTime(item.time) : item.name}` }, "Restore"), saved.some((item) => sizeOf(item.backup)) && ((item) => bytes(sizeOf(item.backup))))),
    snapshots.length > 0 && h("details", h("summary", count(snapshots.length, "snapshot")), table(snapshots, "Taken")),
  ];
}

function table(items, when, action, size) {
  const decided = items.some((item) => item.decision);
  const limit = 30;
  const row = (item) => {
    const { decision } = item;
    return h("tr", h("td", timeElement(item.time, "unknown")), h("td.optional", h("code.faint", item.name), item.backup?.Broken && h("span.remark", `broken: ${item.backup.Broken}`), Number(item.backup?.LackingFiles) > 0 && h("span.remark", `partial: ${count(Number(item.backup.LackingFiles), "file")} could not be read`), Number(item.backup?.ChangedFiles) > 0 && h("span.remark", `${count(Number(item.backup.ChangedFiles), "file")} changed while it was made`)), size && h("td", size(item)), decided && h("td", decision ? [h(`span.badge.${decision.keep ? "good" : "stopped"}`, icon(decision.keep ? "good" : "stopped"), decision.keep ? "kept" : "goes"), " ", h("span.faint", decision.reasons.join(", "))] : h("span.faint", "not touched")), action && h("td.end", action(item)));
  };
  const body = h("tbody", items.slice(0, limit).map(row));
  const more = items.length > limit && h("button", { type: "button", onclick: () => (append(body, items.slice(limit).map(row)), more.remove()) }, `Show all ${items.length}`);
  return h("div", h("div.scroll", { tabindex: 0, role: "region", "aria-label": "List" }, h("table.data", h("thead", h("tr", h("th", { scope: "col" }, when), h("th.optional", { scope: "col" }, "Name"), size && h("th", { scope: "col" }, "Size"), decided && h("th", { scope: "col" }, "At the next prune"), action && h("th", h("span.unseen", "Action")))), body)), more);
}
