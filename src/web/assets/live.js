// Follows the server's events, and notices when it goes away and when it is back.

import { connection, forget, get, session } from "./api.js";

const TYPES = ["run-started", "run-line", "run-progress", "run-ended", "status", "schedule", "reset"];
// The seconds before the first, second, .. attempt to open the stream again. (The browser itself opens a stream again that breaks off.)
const RETRY_SECONDS = [1, 2, 3, 5];

const listeners = new Map();
let source = null;
let last = "";
let timer = 0;
let tries = 0;
let lostSince = null;

/** Calls the handler with each event of this type until the signal is aborted. Beside the server's: `lost` and `recovered`. */
export function on(type, handler, signal) {
  if (!listeners.has(type)) listeners.set(type, new Set());
  listeners.get(type).add(handler);
  signal?.addEventListener("abort", () => listeners.get(type).delete(handler));
}

function tell(type, data) {
  for (const handler of [...(listeners.get(type) ?? [])]) {
    try {
      handler(data);
    } catch (error) {
      // An error in one view must not keep the event from the others.
      console.error(error);
    }
  }
}

/** Opens the stream; does nothing where it is open already. */
export function connect() {
  if (source || !session.role) return;
  clearTimeout(timer);
  source = new EventSource(last ? `/api/events?after=${encodeURIComponent(last)}` : "/api/events");
  source.onopen = back;
  source.onerror = () => {
    source?.close();
    source = null;
    lost();
  };
  for (const type of TYPES) {
    source.addEventListener(type, (event) => {
      if (event.lastEventId) last = event.lastEventId;
      if (type === "status") forget("/api/status");
      if (type === "schedule") forget("/api/schedule");
      if (type === "reset") forget();
      tell(type, event.data ? JSON.parse(event.data) : {});
    });
  }
}

/** Closes the stream for good. */
export function disconnect() {
  clearTimeout(timer);
  source?.close();
  source = null;
  last = "";
  lostSince = null;
  tries = 0;
}

function back() {
  tries = 0;
  if (!lostSince) return;
  lostSince = null;
  forget();
  tell("recovered");
}

function lost() {
  if (!session.role) return;
  clearTimeout(timer);
  // A stream that ends now and then, as behind a proxy, needs no banner: only one that can't be opened again does.
  if (tries > 0 && !lostSince) {
    lostSince = new Date();
    tell("lost", lostSince);
  }
  timer = setTimeout(again, RETRY_SECONDS[Math.min(tries++, RETRY_SECONDS.length - 1)] * 1000 * (tries === 1 ? 0.2 : 1));
}

async function again() {
  try {
    // EventSource does not say why it failed; this does, and a 401 leads to the sign-in page.
    await get("/session");
    connect();
  } catch (error) {
    if (error.status === 401) connection.dispatchEvent(new Event("unauthorized"));
    else lost();
  }
}

connection.addEventListener("offline", () => {
  if (!session.role || lostSince) return;
  lostSince = new Date();
  tell("lost", lostSince);
  source?.close();
  source = null;
  clearTimeout(timer);
  timer = setTimeout(again, 1000);
});

// A browser opens six connections to a server at most, over all its tabs, and each stream holds one. So a hidden tab closes its stream
// after this time (in milliseconds), and a tab that is left closes it at once. The next stream goes on where the last one stopped.
const HIDDEN_TIMEOUT = 60_000;
let hiding = 0;

function rest() {
  clearTimeout(timer);
  source?.close();
  source = null;
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(rest, HIDDEN_TIMEOUT);
  else if (!source && session.role) again();
});
addEventListener("pagehide", rest);
addEventListener("pageshow", (event) => event.persisted && session.role && again());
