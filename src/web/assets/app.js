// The frame around the pages: which one is shown, who is signed in, what the connection does, which theme.

import { connection, forget, get, request, session } from "./api.js";
import { h, icon, replace } from "./dom.js";
import { clockTime, refreshTimes } from "./format.js";
import { connect, disconnect, on } from "./live.js";
import * as overview from "./overview.js";
import { announce, problemBox, skeleton, tell } from "./parts.js";

const main = document.getElementById("main");
const frame = document.getElementById("frame");

// The first page is there at once, the others when they are asked for.
const PAGES = [
  [/^\/?$/, "Overview", "", async () => overview],
  [/^\/volumes\/([^/]+)$/, (name) => name, "", () => import("./volume.js")],
  [/^\/restore(?:\/([^/]+))?$/, "Restore", "restore", () => import("./restore.js")],
  [/^\/runs$/, "Runs", "runs", () => import("./runs.js")],
  [/^\/runs\/([^/]+)$/, "Run", "runs", () => import("./run.js")],
  [/^\/schedule$/, "Schedule", "schedule", () => import("./schedule.js")],
  [/^\/scripts$/, "Scripts", "scripts", () => import("./scripts.js")],
  [/^\/scripts\/([^/]+)$/, (name) => name, "scripts", () => import("./script.js")],
];
const LINKS = [["", "Overview", "overview"], ["restore", "Restore", "restore"], ["runs", "Runs", "runs"], ["schedule", "Schedule", "schedule"], ["scripts", "Scripts", "scripts"]];

let view = new AbortController();
let shown = "";

/** Shows the page that the address names. */
async function route({ keepFocus = false } = {}) {
  if (!session.role) return;
  view.abort();
  view = new AbortController();
  const { signal } = view;
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const pages = PAGES.map((page) => [page, page[0].exec(path)]);
  const [page, match] = pages.find(([, found]) => found) ?? [];
  const parameters = (match ?? []).slice(1).map((part) => (part === undefined ? undefined : safeDecode(part)));
  const title = !page ? "Not found" : typeof page[1] === "function" ? page[1](...parameters) : page[1];
  document.title = `${title} · Convoy Backups${session.host ? ` · ${session.host}` : ""}`;
  for (const link of document.querySelectorAll("#pages a")) {
    if (page && link.dataset.page === page[2]) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const samePage = shown === path;
  shown = path;
  if (!samePage) scrollTo(0, 0);
  if (!page) {
    replace(main, h("div.page", h("h1", "There is no such page"), h("p", h("a", { href: "#/" }, "To the overview"))));
    return;
  }
  if (!samePage) replace(main, h("div.page", skeleton(2)));
  try {
    const module = await page[3]();
    if (signal.aborted) return;
    const showing = module.show(main, parameters, signal, new URLSearchParams(query ?? ""));
    if (!keepFocus && !samePage) {
      main.focus({ preventScroll: true });
      announce(title);
    }
    await showing;
  } catch (error) {
    if (signal.aborted || error.name === "AbortError" || error.status === 401) return;
    replace(main, h("div.page", h("h1", "This page could not be shown"), problemBox(error, h("button", { type: "button", onclick: () => route() }, "Try again"))));
  }
}

function safeDecode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// ---- Signing in and out

function signIn(reason) {
  view.abort();
  view = new AbortController();
  disconnect();
  forget();
  // Answers from before the sign-in were refusals.
  globalThis.early?.clear();
  session.role = null;
  shown = "";
  frame.classList.add("alone");
  document.title = "Sign in · Convoy Backups";
  document.getElementById("banner").hidden = true;
  document.getElementById("sign-out").hidden = true;
  const words = h("div", { "aria-live": "polite" }, reason && h("p.hint", reason));
  const token = h("input", { type: "password", id: "token", name: "token", autocomplete: "current-password", required: true, spellcheck: "false", "aria-describedby": "token-help" });
  const button = h("button.primary", { type: "submit" }, "Sign in");
  const form = h(
    "form.sign-in",
    { onsubmit: async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        enter((await request("POST", "/session", { body: { token: token.value.trim() } })).data);
        await route();
      } catch (error) {
        const wait = error.retryAfter ? ` Try again in ${error.retryAfter} seconds.` : "";
        replace(words, error.status === 401 ? h("p.wrong", icon("bad"), " That is not the token.") : error.status === 429 ? h("p.wrong", icon("bad"), ` Too many tries.${wait}`) : problemBox(error));
        token.setAttribute("aria-invalid", "true");
        token.select();
      } finally {
        button.disabled = false;
      }
    } },
    h("h1", h("img", { src: "/assets/icon.svg", alt: "", width: 36, height: 36 }), "Convoy Backups"),
    // Password managers need a user name.
    h("input", { type: "text", name: "username", autocomplete: "username", value: location.host, hidden: true }),
    h("label", { for: "token" }, "Token"),
    token,
    h("p.help", { id: "token-help" }, "The one in ", h("code", "BKUP_API_TOKEN"), ", or in the file that the log of ", h("code", "serve"), " names at its start."),
    words,
    h("p.buttons", button),
  );
  replace(main, form);
  token.focus();
}

function enter(data) {
  Object.assign(session, data);
  frame.classList.remove("alone");
  document.getElementById("sign-out").hidden = false;
  replace(document.getElementById("host"), h("b", session.host), h("span", `version ${session.version}`), session.role === "read" && h("span.tag", { title: "Signed in with the read-only token" }, "read only"));
  connect();
}

document.getElementById("sign-out").addEventListener("click", async () => {
  try {
    await request("DELETE", "/session");
    signIn("You are signed out.");
  } catch (error) {
    tell(`Signing out failed: ${error.message}`, "bad");
  }
});

connection.addEventListener("unauthorized", () => {
  if (session.role) signIn("You were signed out: the token changed, or the session is too old.");
});

// ---- The connection

const banner = document.getElementById("banner");
on("lost", (since) => {
  replace(banner, icon("warning"), h("span", `The server can't be reached since ${clockTime(since)}. What is shown is as old as that. Trying again …`));
  banner.hidden = false;
});
on("recovered", () => {
  banner.hidden = true;
  tell("The server is back.");
});
setInterval(refreshTimes, 15_000);

// ---- The theme

const themeButton = document.getElementById("theme");
const THEMES = { system: "Theme: system", light: "Theme: light", dark: "Theme: dark" };
function showTheme() {
  themeButton.textContent = THEMES[document.documentElement.dataset.theme ?? "system"];
}
themeButton.addEventListener("click", () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme ?? "system") + 1) % names.length];
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem("theme", next);
  } catch {
    // Storage is blocked: the theme holds for this page only.
  }
  showTheme();
});

// ---- The start

// The address is for the pages: the link goes to the content without changing it.
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
showTheme();
replace(document.getElementById("pages"), LINKS.map(([page, name, picture]) => h("li", h("a", { href: `#/${page}`, "data-page": page }, icon(picture), h("span", name)))));
addEventListener("hashchange", () => route());

async function begin() {
  try {
    enter(await get("/session"));
    await route({ keepFocus: true });
  } catch (error) {
    if (error.status === 401) return signIn();
    replace(main, h("div.page", h("h1", "The server does not answer"), problemBox(error), h("p.faint", "Trying again …")));
    setTimeout(begin, 2000);
  }
}
begin();
