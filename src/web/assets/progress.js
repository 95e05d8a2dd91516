// Follows one run to its end: progress, the last lines of its log, how it ended.

import { get } from "./api.js";
import { h, replace } from "./dom.js";
import { bytes, duration } from "./format.js";
import { on } from "./live.js";
import { announce, badge, failureList, isOpen, problemBox, runLink, statusWord } from "./parts.js";

// So many lines of the log are shown.
const LINES = 6;

/** A bar for progress (`what`, `done`, `total` in bytes); without a total it only shows that something goes on. */
export function progressBar(progress) {
  if (!progress) return h("div.progress", h("progress", { "aria-label": "Progress" }));
  const { what, done, total } = progress;
  const part = total ? ` ${Math.min(100, Math.floor((done / total) * 100))} %` : "";
  const amount = done || total ? `${bytes(done)}${total ? ` of ${bytes(total)}` : ""}${part && ","}${part}` : "";
  return h("div.progress", h("progress", { "aria-label": what || "Progress", max: total || null, value: total ? done : null }), h("p.faint", [what, amount].filter(Boolean).join(": ")));
}

/** Shows a run in the node until it has ended; `done` gives what stands there where it went well. */
export function follow(node, id, signal, { done }) {
  const end = new AbortController();
  signal.addEventListener("abort", () => end.abort());
  const bar = h("div", progressBar(null));
  const log = h("pre.tail", { "aria-label": "The last lines of its log", tabindex: 0 });
  const lines = [];
  const open = h("p", h("a", { href: `#/runs/${encodeURIComponent(id)}` }, "The run with its whole log"));
  replace(node, bar, log, open);
  return new Promise((resolve) => {
    const reload = async () => {
      try {
        const run = await get(`/api/runs/${encodeURIComponent(id)}`, end.signal);
        if (isOpen(run)) {
          if (run.progress) replace(bar, progressBar(run.progress));
          return;
        }
        if (end.signal.aborted) return;
        end.abort();
        announce(`The run ended: ${statusWord(run.status)}.`);
        const words = h("p", badge(run.status), h("span.faint", run.took_seconds !== null && ` took ${duration(run.took_seconds)} · `), h("a", { href: runLink(run) }, "its log"));
        replace(node, words, run.error && problemBox(run.error), run.failures?.length > 0 && failureList(run.failures), run.status === "done" && done(run));
        resolve(run);
      } catch (error) {
        if (error.name !== "AbortError" && error.code !== "offline") resolve(replace(node, problemBox(error), open));
      }
    };
    on("run-progress", (event) => event.run === id && replace(bar, progressBar(event)), end.signal);
    on("run-line", (event) => {
      if (event.run !== id) return;
      lines.push(event.text);
      log.textContent = lines.slice(-LINES).join("\n");
    }, end.signal);
    on("run-ended", (run) => run.id === id && reload(), end.signal);
    for (const type of ["recovered", "reset"]) on(type, reload, end.signal);
    reload();
  });
}
