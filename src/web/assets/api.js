// Requests to the server, their errors, and the session.

/** The error of a request: the server's problem document, or `code: "offline"` where no answer came. */
export class Problem extends Error {
  constructor(document, status) {
    super(document.detail || document.title || `the server answered ${status}`);
    Object.assign(this, document);
    this.status = status;
    this.code ??= `http_${status}`;
  }
}

/** The session: `role` (`full`, `read`, or `null` where no one is signed in), and the server's `host` and `version`. */
export const session = { role: null, host: "", version: "" };

/** Gets the events `offline` (no answer came), `online` and `unauthorized`. */
export const connection = new EventTarget();

/** Sends a request; the answer's JSON (or text), its status and headers. */
export async function request(method, path, { body, headers, signal, text = false } = {}) {
  const options = { method, headers: { Accept: text ? "text/plain" : "application/json", ...headers }, signal };
  if (body instanceof URLSearchParams) options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    const begun = method === "GET" && globalThis.early?.get(path);
    // early.js has sent the first requests already; each of its answers is used once.
    globalThis.early?.delete(path);
    response = await (begun || fetch(path, options));
  } catch (error) {
    if (error.name === "AbortError") throw error;
    connection.dispatchEvent(new Event("offline"));
    throw new Problem({ code: "offline", title: "The server can't be reached", detail: "no answer came from the server", hint: "is \"convoy-backups serve\" running, and the network up?" }, 0);
  }
  connection.dispatchEvent(new Event("online"));
  const type = response.headers.get("Content-Type") ?? "";
  const data = /\bjson\b/.test(type) ? await response.json().catch(() => null) : await response.text();
  if (!response.ok) {
    const document = data && typeof data === "object" ? data : { detail: typeof data === "string" ? data.slice(0, 500) : "" };
    if (response.status === 401 && path !== "/session") connection.dispatchEvent(new Event("unauthorized"));
    throw new Problem({ ...document, retryAfter: response.headers.get("Retry-After") }, response.status);
  }
  return { data, status: response.status, headers: response.headers };
}

/** Gets JSON. */
export async function get(path, signal) {
  return (await request("GET", path, { signal })).data;
}

/** A path with its query; empty values are left out. */
export function withQuery(path, query) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

const call = (script) => `/api/${encodeURIComponent(script)}`;

/** The path of an entry of the crontab. */
export const entryPath = (key) => `/api/schedule/${encodeURIComponent(key)}`;

/** The path of a script's dry run, or of an entry's, which has the entry's own settings. */
export const dryRunOf = (script) => `${call(script)}?dry_run=true`;
export const dryRunOfEntry = (key) => `${entryPath(key)}/run?dry_run=true`;

/** Runs a script that only reads and waits for its result. */
export async function read(script, body = {}, signal) {
  return (await request("POST", call(script), { body, signal })).data;
}

/** What a script would do: its plan and its result. Arguments are a map, or a form. */
export async function dryRun(script, body, signal) {
  return (await request("POST", dryRunOf(script), { body, signal })).data;
}

/** Starts a script without waiting for its end: the run's id. */
export async function start(script, body, { dry = false } = {}) {
  const answer = await request("POST", dry ? dryRunOf(script) : call(script), { body, headers: { Prefer: "respond-async" } });
  return answer.data?.run ?? answer.headers.get("Run-Id");
}

/** Starts an entry of the crontab now: its run's id. */
export async function startEntry(key, { dry = false } = {}) {
  const answer = await request("POST", dry ? dryRunOfEntry(key) : `${entryPath(key)}/run`, { headers: { Prefer: "respond-async" } });
  return answer.data.run;
}

// The time between two polls of a run, in milliseconds: at first, and at most.
const [FIRST_POLL_INTERVAL, LONGEST_POLL_INTERVAL] = [50, 2000];

/**
 * The result of a dry run. Aborting the signal also ends the run itself, because a client that goes away ends no run. `path` is one
 * of the above.
 */
export async function previewRun(path, body, signal) {
  const { data } = await request("POST", path, { body, headers: { Prefer: "respond-async" } });
  const run = `/api/runs/${encodeURIComponent(data.run)}`;
  // The run may have ended already: not an error.
  const end = () => request("DELETE", run).catch(() => {});
  if (signal.aborted) end();
  else signal.addEventListener("abort", end, { once: true });
  for (let wait = FIRST_POLL_INTERVAL; ; wait = Math.min(wait * 1.5, LONGEST_POLL_INTERVAL)) {
    const record = await get(run, signal);
    signal.throwIfAborted();
    if (record.ended) {
      signal.removeEventListener("abort", end);
      const failure = record.error ?? record.failures?.[0];
      if (failure) throw new Problem({ code: "failed", ...failure, detail: failure.message, failures: record.failures, run: record.id }, 0);
      return record;
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

const kept = new Map();

/** Gets JSON that several pages need, and shares it for a few seconds. */
export function shared(path, seconds = 5) {
  const known = kept.get(path);
  if (known && Date.now() - known.at < seconds * 1000) return known.answer;
  const answer = get(path);
  kept.set(path, { at: Date.now(), answer });
  answer.catch(() => kept.delete(path));
  return answer;
}

/** Forgets the shared answer of a path, or all of them. */
export const forget = (path) => (path ? kept.delete(path) : kept.clear());
