// One script: what it is for, a form made from its parameters with dry run beside run, its source.

import { dryRun, get, read, session, shared, withQuery } from "./api.js";
import { h, icon, replace } from "./dom.js";
import { exactTime, parseTime } from "./format.js";
import { load, planList, problemBox, resultView, startAsking, volumeNames, volumes } from "./parts.js";
import { highlight } from "./rhai.js";

export async function show(main, [name], signal) {
  const body = h("div");
  replace(main, h("div.page", h("p.back", h("a", { href: "#/scripts" }, "← Scripts")), h("h1.name", name), body));
  await load(body, signal, () => get(`/api/scripts/${encodeURIComponent(name)}`, signal), (script) => [
    script.error ? problemBox(script.error) : h("div.doc", paragraphs(script.doc || script.summary)),
    h("p.facts", h("span", script.origin), script.file && script.file !== script.origin && h("span", h("code", script.file)), script.read_only && h("span.tag", "only reads"), h("a", { href: withQuery("#/runs", { script: name }) }, "Its runs")),
    !script.error && form(script, signal),
    h("section", { "aria-labelledby": "source-title" }, h("h2", { id: "source-title" }, "Source"), h("pre.source", { tabindex: 0, "aria-label": `Source of ${name}` }, highlight(script.source ?? "", script.error?.location?.line))),
  ], 2);
}

const paragraphs = (doc) => (doc ?? "").split(/\n\s*\n/).filter((part) => part.trim()).map((part) => h("p", part));

const PLACES = { size: "40G", duration: "7d", time: "yesterday 18:00", since: "7d", destination: "vfs:///mnt/backups", backup_url: "as \"backups\" lists it", int: "", string: "" };

/** A field for a parameter: its input, what it gives (`undefined` where it was left out), and where its error stands. */
function fieldOf(parameter, signal) {
  const id = `argument-${parameter.name}`;
  const wrong = h("p.wrong", { id: `${id}-wrong`, "aria-live": "polite" });
  const common = { id, name: parameter.name, "aria-describedby": `${id}-help ${id}-wrong`, "aria-required": parameter.required ? "true" : null, autocomplete: "off", spellcheck: "false", autocapitalize: "none" };
  const label = h("label", { for: id }, parameter.name.replaceAll("_", " "), parameter.required && h("span.needed", " needed"));
  const notes = h("p.help", { id: `${id}-help` }, parameter.help, parameter.default_text !== null && parameter.default_text !== undefined && [" · default ", h("code", String(parameter.default_text))]);
  const placeholder = parameter.default_text ?? PLACES[parameter.type] ?? "";
  let input;
  let extra = null;
  let value = () => input.value.trim() || undefined;
  const type = parameter.type;
  if (type === "bool") {
    input = h("input", { type: "checkbox", ...common, checked: parameter.default === true });
    value = () => (input.checked === (parameter.default === true) ? undefined : input.checked);
    return { parameter, input, wrong, value, node: h("div.field.check", h("div", input, label), notes, wrong) };
  }
  if (type === "choice" || parameter.choices) {
    input = h("select", common, !parameter.required && h("option", { value: "" }, parameter.default_text ? `default: ${parameter.default_text}` : "left out"), parameter.choices.map((choice) => h("option", { value: choice }, choice)));
  } else if (type === "int") {
    input = h("input", { type: "number", step: 1, placeholder, ...common });
    value = () => (input.value === "" ? undefined : Number(input.value));
  } else if (type === "list") {
    input = h("textarea", { rows: 3, ...common });
    notes.append(" · one on each line");
    value = () => {
      const lines = input.value.split("\n").map((line) => line.trim()).filter(Boolean);
      return lines.length ? lines : undefined;
    };
  } else {
    const offers = ["volume", "snapshot", "backup_url"].includes(type) && `${id}-offers`;
    input = h("input", { type: "text", placeholder, list: offers, ...common });
    if (offers) {
      const options = h("datalist", { id: offers });
      extra = options;
      // Choices are fetched when they are needed: listing backups may take a while.
      input.addEventListener("focus", () => offer(type, options, input.form, signal).catch(() => {}), { once: type !== "backup_url" });
    }
  }
  return { parameter, input, wrong, value, node: h("div.field", label, input, extra, notes, wrong) };
}

async function offer(type, options, form, signal) {
  const show = (list) => replace(options, list.map(([value, label]) => h("option", { value, label })));
  if (type === "volume") show((await volumeNames()).map((name) => [name]));
  else if (type === "snapshot") show((await volumes(signal)).flatMap((volume) => Object.keys(volume.Snapshots ?? {}).map((name) => [name, volume.Name])));
  else {
    // The volume of a restore is the new one's name: it says nothing of whose backups are wanted.
    const volume = form.id === "form-restore" ? "" : form.elements.volume?.value.trim();
    const backups = await read("backups", volume ? { volume } : {}, signal);
    show(backups.map((backup) => [backup.BackupURL, `${backup.VolumeName ?? ""} ${parseTime(backup.CreatedTime) ? exactTime(parseTime(backup.CreatedTime)) : ""}`]));
  }
}

function form(script, signal) {
  const fields = script.parameters.map((parameter) => fieldOf(parameter, signal));
  const answer = h("div.answer", { "aria-live": "polite" });
  const body = () => Object.fromEntries(fields.map((field) => [field.parameter.name, field.value()]).filter(([, value]) => value !== undefined));
  const mark = (field, text) => {
    field.wrong.textContent = text;
    if (text) field.input.setAttribute("aria-invalid", "true");
    else field.input.removeAttribute("aria-invalid");
  };
  const check = () => {
    fields.forEach((field) => mark(field, ""));
    const bad = fields.filter((field) => (field.parameter.required && field.value() === undefined) || field.input.validity?.badInput);
    bad.forEach((field) => mark(field, field.input.validity?.badInput ? "This is not a whole number." : "This is needed."));
    bad[0]?.input.focus();
    return !bad.length;
  };
  const refused = (error) => {
    const fold = (name) => name.toLowerCase().replace(/[-_]/g, "");
    const field = error.field && fields.find((one) => fold(one.parameter.name) === fold(error.field));
    if (field) {
      // At its field, neither its name nor how the command line would have it says anything new.
      mark(field, [error.message.replace(/^--[\w-]+: /, ""), error.hint?.replace(/(; )?usage: .*$/s, "")].filter(Boolean).join(" – "));
      field.input.focus();
      answer.replaceChildren();
    } else replace(answer, problemBox(error), error.result !== undefined && resultView(error.result));
  };
  const busy = async (button, words, work) => {
    if (!check()) return;
    buttons.forEach((one) => (one.disabled = true));
    replace(answer, h("p.faint", icon("running"), ` ${words}`));
    try {
      await work();
    } catch (error) {
      if (!signal.aborted) refused(error);
    } finally {
      buttons.forEach((one) => (one.disabled = false));
    }
  };
  const may = session.role === "full" || script.read_only;
  const run = h("button.primary", { type: "submit", "aria-disabled": may ? null : "true", "aria-describedby": may ? null : "read-only" }, "Run");
  const dry = h("button", { type: "button", onclick: () => busy(dry, "Looking at what would be done …", async () => {
    const { plan, result } = await dryRun(script.name, body(), signal);
    replace(answer, h("h3", "What would be done"), planList(plan), h("details", h("summary", "What it would return"), resultView(result)));
  }) }, "Dry run");
  const buttons = [run, dry];
  const direct = () => busy(run, "Reading …", async () => replace(answer, h("h3", "Result"), resultView(await read(script.name, body(), signal))));
  const start = () => busy(run, "Starting …", async () => {
    if (!(await startAsking(script.name, body()))) answer.replaceChildren();
  });
  return h(
    "section",
    { "aria-labelledby": "form-title" },
    h("h2", { id: "form-title" }, "Run it"),
    h("form.arguments", { id: `form-${script.name}`, novalidate: true, onsubmit: (event) => {
      event.preventDefault();
      if (may) (script.read_only ? direct : start)();
    } }, fields.length ? fields.map((field) => field.node) : h("p.faint", "It takes no arguments."), h("p.buttons", run, !script.read_only && dry, !may && h("span.hint", { id: "read-only" }, "You are signed in with the read-only token: only the dry run is allowed."))),
    answer,
  );
}
