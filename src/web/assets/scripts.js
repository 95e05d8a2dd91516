// All scripts.

import { shared } from "./api.js";
import { h, icon, replace } from "./dom.js";
import { on } from "./live.js";
import { load } from "./parts.js";

export async function show(main, _parameters, signal) {
  const body = h("div");
  replace(main, h("div.page", h("h1", "Scripts"), h("p.faint", "Each is one job. A file of yours with the name of a built-in one takes its place."), body));
  const reload = () => load(body, signal, () => shared("/api/scripts", 2), ({ scripts }) => {
    if (!scripts.length) return h("p.empty", "There are no scripts.");
    return h("ul.cards", scripts.map((script) => h(
      "li",
      { class: script.error ? "bad" : null },
      h("h2", h("a", { href: `#/scripts/${encodeURIComponent(script.name)}` }, script.name)),
      h("p", script.error ? [icon("bad"), " can't be used: ", script.error.message ?? script.error.detail] : script.summary),
      h("p.faint", script.origin, script.read_only && " · only reads"),
    )));
  }, 3);
  for (const type of ["recovered", "reset"]) on(type, reload, signal);
  await reload();
}
