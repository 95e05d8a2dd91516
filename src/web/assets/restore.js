// Restore, step by step: which backup, under which name, what will happen, do it, use it. Made for a bad day.

import { dryRun, read, start } from "./api.js";
import { h, icon, replace } from "./dom.js";
import { bytes, count, clockTime, dayAndTime, dayOf, exactTime, monthOf, shellWord, sizeOf, timeElement } from "./format.js";
import { announce, changeButton, copyable, load, planList, problemBox, volumeNames } from "./parts.js";
import { follow } from "./progress.js";
import { backupsOf } from "./volume.js";

export async function show(main, [volume], signal, query) {
  const body = h("div");
  replace(main, h("div.page.narrow", h("h1", volume ? ["Restore ", h("span.name", volume)] : "Restore a volume"), h("p.faint", "A restore makes a new volume from a backup. Nothing that is there is changed."), body));
  if (volume) await choose(body, volume, signal, query.get("backup"));
  else await pickVolume(body, signal);
}

async function pickVolume(body, signal) {
  const gone = h("div");
  const link = (name, note) => h("li", { "data-words": name.toLowerCase() }, h("a", { href: `#/restore/${encodeURIComponent(name)}` }, h("span", name), note && h("span.faint", note)));
  const list = h("ul.choices");
  const box = h("input", { type: "search", id: "which", autocomplete: "off", spellcheck: "false", oninput: () => {
    for (const item of document.querySelectorAll(".choices li")) item.hidden = !item.dataset.words.includes(box.value.toLowerCase());
  } });
  const lookForGone = async (names) => {
    await load(gone, signal, () => read("backups", {}, signal), (backups) => {
      const found = new Map();
      for (const backup of backups) if (backup.VolumeName && !names.includes(backup.VolumeName)) found.set(backup.VolumeName, (found.get(backup.VolumeName) ?? 0) + 1);
      return found.size ? [h("h3", "Volumes that are not here"), h("ul.choices", [...found].sort().map(([name, number]) => link(name, count(number, "backup"))))] : h("p.faint", "Every backup at the destination is of a volume above.");
    });
  };
  await load(body, signal, volumeNames, (names) => {
    replace(list, names.map((name) => link(name)));
    return h("section.step", h("h2", "Which volume?"), names.length > 8 && h("p", h("label", { for: "which" }, "Filter by name"), box), names.length ? list : h("p.empty", "No volume is known here."), gone, h("p.buttons", h("button", { type: "button", onclick: (event) => (event.target.remove(), lookForGone(names)) }, "Look for volumes that are gone")));
  });
}

async function choose(body, volume, signal, wanted) {
  let names = [];
  const known = volumeNames().then((all) => (names = all), () => {});
  const form = h("form", { onsubmit: (event) => event.preventDefault() });
  const result = h("section.step", { hidden: true });
  await load(body, signal, () => Promise.all([backupsOf(volume, signal), known]), ([backups]) => {
    if (!backups.length) return h("div.empty", h("p", "There is no backup of this volume at the destination."), h("p", h("a", { href: "#/restore" }, "Choose another volume")));
    const field = h("input", { type: "text", id: "new-name", required: true, autocomplete: "off", spellcheck: "false", autocapitalize: "none", "aria-describedby": "new-name-help new-name-wrong" });
    const wrong = h("p.wrong", { id: "new-name-wrong", "aria-live": "polite" });
    field.value = freeName(volume, names);
    const check = () => {
      const taken = names.includes(field.value.trim());
      wrong.textContent = taken ? "A volume of this name is there already: a restore never replaces one." : "";
      field.setAttribute("aria-invalid", String(taken));
      return !taken && field.value.trim() !== "";
    };
    const stale = () => {
      result.hidden = true;
      result.removeAttribute("aria-labelledby");
      replace(result);
    };
    field.addEventListener("input", () => (stale(), check()));
    const chosen = () => backups.find((backup) => backup.BackupURL === form.querySelector("[name=backup]:checked")?.value);
    const look = h("button.primary", { type: "submit" }, "See what will happen");
    form.addEventListener("submit", async () => {
      if (!check() || !chosen()) return field.focus();
      look.disabled = true;
      await planned(result, volume, field.value.trim(), chosen(), signal);
      look.disabled = false;
    });
    return [
      replace(
        form,
        h("section.step", { "aria-labelledby": "step-1" }, h("h2", { id: "step-1" }, h("span.step-number", "1"), "Which backup?"), list(backups, wanted, stale)),
        h("section.step", { "aria-labelledby": "step-2" }, h("h2", { id: "step-2" }, h("span.step-number", "2"), "Name of the new volume"), h("label.unseen", { for: "new-name" }, "Name of the new volume"), field, h("p.help", { id: "new-name-help" }, "One that nothing uses yet: letters, digits, \"_\", \".\" and \"-\"."), wrong, h("p.buttons", look)),
      ),
      result,
    ];
  }, 2);
}

/** `vol1-restored`, or with a number behind it where that is taken. */
function freeName(volume, names) {
  const base = `${volume}-restored`;
  let number = 1;
  while (names.includes(number === 1 ? base : `${base}-${number}`)) number++;
  return number === 1 ? base : `${base}-${number}`;
}

function list(backups, wanted, changed) {
  // By day where a day has several, else by month.
  const several = new Set(backups.map((backup) => backup.time?.toDateString())).size < backups.length * 0.75;
  const days = new Map();
  for (const backup of backups) {
    const day = backup.time ? (several ? dayOf : monthOf)(backup.time) : "At an unknown time";
    if (!days.has(day)) days.set(day, []);
    days.get(day).push(backup);
  }
  const first = backups.find((backup) => backup.BackupURL === wanted) ?? backups.find((backup) => !backup.Broken && (!backup.State || backup.State === "completed")) ?? backups[0];
  const option = (backup) => {
    const good = !backup.State || backup.State === "completed";
    const id = `backup-${backups.indexOf(backup)}`;
    return h(
      "label.option",
      { for: id },
      h("input", { type: "radio", name: "backup", id, value: backup.BackupURL, checked: backup === first, disabled: !good, onchange: changed }),
      h("span.option-words", h("b", backup.time ? (several ? clockTime : dayAndTime)(backup.time) : "unknown"), " ", timeElement(backup.time, ""), backup === backups[0] && h("span.tag", "newest"), !good && h("span.tag", `not complete: ${backup.State}`), backup.Broken && h("span.tag", { title: backup.Broken }, "broken"), h("span.faint.block", backup.taken && ["data from ", timeElement(backup.taken, "", exactTime), " · "], sizeOf(backup) && `${bytes(sizeOf(backup))} · `, h("code", backup.BackupName ?? backup.BackupURL))),
    );
  };
  return h("div.backups", { role: "radiogroup", "aria-labelledby": "step-1", tabindex: -1 }, [...days].map(([day, part]) => h("div", { role: "group", "aria-label": day }, h("p.day", day), part.map(option))));
}

async function planned(result, volume, name, backup, signal) {
  const body = { volume: name, backupurl: backup.BackupURL };
  result.hidden = false;
  result.setAttribute("aria-labelledby", "step-3");
  const actions = h("div");
  const title = h("h2", { id: "step-3", tabindex: -1 }, h("span.step-number", "3"), "What will happen");
  const inner = h("div");
  replace(result, title, inner, actions);
  let fine = false;
  await load(inner, signal, async () => {
    const plan = await dryRun("restore", body, signal);
    fine = true;
    return plan;
  }, ({ plan }) => [planList(plan), h("p.faint", `The backup of "${volume}" of ${backup.time ? exactTime(backup.time) : "an unknown time"} goes into the new volume "${name}".`)]);
  if (!fine || signal.aborted) return;
  const go = changeButton({ class: "primary", onclick: async () => {
    go.disabled = true;
    try {
      const run = await start("restore", body);
      announce("The restore has begun.");
      await follow(actions, run, signal, { done: () => use(name) });
      if (!signal.aborted) bringIntoView(actions, "end");
    } catch (error) {
      if (!signal.aborted) replace(actions, problemBox(error), h("p.buttons", go));
      go.disabled = false;
    }
  } }, `Restore into "${name}"`);
  replace(actions, h("p.buttons", go));
  title.focus({ preventScroll: true });
  bringIntoView(result, "nearest");
}

const bringIntoView = (node, block) => node.scrollIntoView({ block, behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });

const yaml = (text) => (/^[A-Za-z][\w.-]*$/.test(text) && !/^(y|n|yes|no|on|off|true|false|null)$/i.test(text) ? text : JSON.stringify(text));

/** How to get at the new volume. */
function use(name) {
  const key = yaml(name);
  return h(
    "section.step",
    h("h2", icon("good"), h("span", "The volume ", h("span.name", name), " is there")),
    h("p", "Look into it:"),
    copyable(`docker run --rm -it -v ${shellWord(name)}:/data --volume-driver=convoy debian ls /data`, "Docker command"),
    h("p", "Use it in a compose file:"),
    copyable(`services:\n  app:\n    volumes:\n      - ${/^[\w.-]+$/.test(name) ? `${name}:/data` : JSON.stringify(`${name}:/data`)}\n\nvolumes:\n  ${key}:\n    external: true`, "Compose lines"),
    h("p.buttons", h("a.button", { href: `#/volumes/${encodeURIComponent(name)}` }, "See the volume")),
  );
}
