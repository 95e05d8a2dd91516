// All runs, newest first, with filters; live.

import { get, shared, withQuery } from "./api.js";
import { h, replace } from "./dom.js";
import { on } from "./live.js";
import { announce, load, runCells, runHead, STATUSES, statusWord } from "./parts.js";

const SINCE = [["", "any time"], ["24h", "24 hours"], ["7d", "7 days"], ["30d", "30 days"]];
// Scripts that only read, such as those that this dashboard runs, would hide the rest.
const SHOW = [["", "changes"], ["all", "everything"]];
const PAGE = 50;

export async function show(main, parameters, signal, query) {
  const filter = { script: query.get("script") ?? "", status: query.get("status") ?? "", since: query.get("since") ?? "", volume: query.get("volume") ?? "", show: query.get("show") ?? "" };
  const readOnlyScripts = new Set();
  const wantsAll = () => filter.show || filter.script;
  const question = () => ({ script: filter.script, status: filter.status, since: filter.since, volume: filter.volume, changing: wantsAll() ? "" : "true", limit: PAGE });
  const list = h("div");
  const waiting = h("div", { "aria-live": "polite" });
  const select = (name, words, options) => {
    const node = h("select", { id: `by-${name}`, onchange: () => change(name, node.value) }, options.map(([value, text]) => h("option", { value }, text)));
    node.value = filter[name];
    return h("div.field", h("label", { for: `by-${name}` }, words), node);
  };
  let typing = 0;
  const volume = h("input", { type: "search", id: "by-volume", value: filter.volume, autocomplete: "off", spellcheck: "false", list: "volume-names", oninput: () => {
    clearTimeout(typing);
    typing = setTimeout(() => change("volume", volume.value.trim()), 300);
  } });
  const scripts = h("div");
  const names = h("datalist", { id: "volume-names" });
  const change = (name, value) => {
    filter[name] = value;
    history.replaceState(null, "", withQuery("#/runs", filter));
    reload();
  };
  replace(
    main,
    h("div.page", h("h1", "Runs"), h("div.filters", { role: "search", "aria-label": "Filter the runs" }, scripts, select("status", "Status", [["", "any"], ...STATUSES.map((status) => [status, statusWord(status)])]), select("since", "Since", SINCE), h("div.field", h("label", { for: "by-volume" }, "Volume"), volume, names), select("show", "Show", SHOW)), waiting, list),
  );
  const offerScripts = (known) => {
    const focused = scripts.contains(document.activeElement);
    replace(scripts, select("script", "Script", [["", "any"], ...known.map((name) => [name, name])]));
    if (focused) scripts.querySelector("select").focus();
  };
  offerScripts(filter.script ? [filter.script] : []);
  shared("/api/scripts", 60).then(({ scripts: all }) => {
    for (const one of all) if (one.read_only) readOnlyScripts.add(one.name);
    if (!signal.aborted) offerScripts([...new Set([...all.map((one) => one.name), filter.script].filter(Boolean))].sort());
  }, () => {});
  shared("/api/status", 20).then(({ volumes }) => replace(names, volumes.map((one) => h("option", { value: one.name }))), () => {});

  const rows = new Map();
  let body = null;
  const rowOf = (run) => h("tr", { role: "row" }, runCells(run));
  const put = (run, where) => {
    const row = rowOf(run);
    const known = rows.get(run.id);
    const focused = known?.contains(document.activeElement);
    if (known) known.replaceWith(row);
    else if (where === "first") body.prepend(row);
    else body.append(row);
    rows.set(run.id, row);
    if (focused) row.querySelector("a")?.focus({ preventScroll: true });
  };
  let requests = 0;
  async function reload() {
    const mine = ++requests;
    const view = h("div");
    if (!list.childElementCount) replace(list, view);
    await load(list.firstElementChild, signal, () => get(withQuery("/api/runs", question()), signal), (page) => {
      // A newer request was sent meanwhile: its answer counts.
      if (mine !== requests) return [...list.firstElementChild.childNodes];
      rows.clear();
      body = h("tbody", { role: "rowgroup" });
      page.runs.forEach((run) => put(run));
      const filtered = Object.values(filter).some(Boolean);
      const table = h("table.runs", { role: "table", "aria-label": "Runs, newest first" }, runHead(), body);
      if (!page.runs.length) {
        body = null;
        return h("div.empty", h("p", filtered ? "No run is like that." : "Nothing has run yet."), filtered ? h("p", h("button", { type: "button", onclick: () => {
          history.replaceState(null, "", "#/runs");
          show(main, parameters, signal, new URLSearchParams());
        } }, "Show all runs")) : h("p", h("a", { href: "#/schedule" }, "See when the next one is due")));
      }
      return [table, older(page.next)];
    }, 2);
  }
  function older(next) {
    if (!next) return null;
    const button = h("button", { type: "button", onclick: async () => {
      button.disabled = true;
      try {
        const page = await get(next, signal);
        page.runs.forEach((run) => put(run));
        announce(`${page.runs.length} older runs`);
        const following = older(page.next);
        if (following) holder.replaceWith(following), following.firstElementChild.focus();
        else holder.remove();
      } catch {
        button.disabled = false;
      }
    } }, "Older runs");
    const holder = h("p.buttons", button);
    return holder;
  }
  const matches = (run) => (wantsAll() || run.trigger === "cron" || !(run.dry_run || readOnlyScripts.has(run.script))) && (!filter.script || run.script === filter.script) && (!filter.status || run.status === filter.status) && (!filter.volume || run.volumes_done?.includes(filter.volume) || [].concat(run.arguments?.volume ?? []).includes(filter.volume));
  on("run-started", (run) => (body && matches(run) ? put(run, "first") : !body && reload()), signal);
  on("run-ended", (run) => (rows.has(run.id) ? put(run) : matches(run) && (body ? put(run, "first") : reload())), signal);
  for (const type of ["recovered", "reset"]) on(type, reload, signal);
  await reload();
}
