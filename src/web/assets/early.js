// Runs before the first paint and before the modules are there: a plain script, not a module.

// The chosen theme must not flash.
try {
  const theme = localStorage.getItem("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is blocked: the system's theme it is.
}

// Sends the requests of the first page while the modules are still loading; api.js uses their answers.
globalThis.early = new Map(
  (location.hash.length < 3 ? ["/session", "/api/status"] : ["/session"]).map((path) => {
    const answer = fetch(path, { headers: { Accept: "application/json" } });
    answer.catch(() => {});
    return [path, answer];
  }),
);
