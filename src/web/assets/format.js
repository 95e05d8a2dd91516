// Times, sizes and durations for people. The API's times are UTC; what is shown is in this browser's zone, and says so.

import { h } from "./dom.js";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
// Made when it is first needed: each takes milliseconds.
function format(options) {
  let made;
  return (date) => (made ??= new Intl.DateTimeFormat("en-GB", options)).format(date);
}

export const exactTime = format({ weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" });
export const dayAndTime = format({ weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
export const dayOf = format({ weekday: "long", day: "numeric", month: "long", year: "numeric" });
export const monthOf = format({ month: "long", year: "numeric" });
export const clockTime = format({ hour: "2-digit", minute: "2-digit" });
export const clockSeconds = format({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "always" });

/** The zone that times are shown in. */
export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** A date from RFC 3339 or from the daemon's own spelling (`Mon Nov 23 06:19:31 +0000 2026`); `null` where it is neither. */
export function parseTime(text) {
  if (!text) return null;
  const daemon = /^\w{3} (\w{3}) +(\d+) (\d\d:\d\d:\d\d) ([+-]\d\d)(\d\d) (\d{4})$/.exec(text);
  const month = daemon ? MONTHS.indexOf(daemon[1]) + 1 : 0;
  const pad = (number) => String(number).padStart(2, "0");
  const date = new Date(daemon ? `${daemon[6]}-${pad(month)}-${pad(daemon[2])}T${daemon[3]}${daemon[4]}:${daemon[5]}` : text);
  return Number.isNaN(date.getTime()) ? null : date;
}

/** "9 hours ago", "in 3 days". */
export function relativeTime(date, now = Date.now()) {
  const seconds = Math.round((date.getTime() - now) / 1000);
  const size = Math.abs(seconds);
  if (size < 10) return seconds <= 0 ? "just now" : "in a moment";
  const steps = [[60, 1, "second"], [5400, 60, "minute"], [129600, 3600, "hour"], [86400 * 60, 86400, "day"], [86400 * 700, 86400 * 30.44, "month"], [Infinity, 86400 * 365.25, "year"]];
  const [, unit, name] = steps.find(([limit]) => size < limit);
  return RELATIVE.format(Math.round(seconds / unit), name);
}

/** A `<time>`: relative, with the exact local time on hover; kept up to date by {@link refreshTimes}. `none` stands for no time. */
export function timeElement(value, none = "never", form = relativeTime) {
  const date = value instanceof Date ? value : parseTime(value);
  if (!date) return h("span.faint", none);
  return h("time", { datetime: date.toISOString(), title: exactTime(date), "data-relative": form === relativeTime }, form(date));
}

/** Brings all relative times up to date. */
export function refreshTimes() {
  const now = Date.now();
  for (const node of document.querySelectorAll("time[data-relative]")) {
    const text = relativeTime(new Date(node.dateTime), now);
    if (node.textContent !== text) node.textContent = text;
  }
}

/** A duration in its two largest units: `45s`, `3m 20s`, `12d 4h`. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 10) return `${Number(seconds).toFixed(seconds < 1 ? 2 : 1)}s`;
  const words = [];
  let left = Math.round(seconds);
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]]) {
    if (left >= size && words.length < 2) words.push(`${Math.floor(left / size)}${unit}`), (left %= size);
    else if (words.length) break;
  }
  return words.join(" ");
}

/** Bytes as the command line shows them. */
export function bytes(count) {
  if (count === null || count === undefined) return "";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = Number(count);
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) (value /= 1024), unit++;
  return unit && value < 10 ? `${value.toFixed(1)} ${units[unit]}` : `${Math.round(value)} ${units[unit]}`;
}

/** The bytes in a backup's files; EBS has another name for them. */
export const sizeOf = (backup) => backup.BackupSize ?? backup.Size;

/** "1 volume", "3 volumes". */
export const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

/** Words as a shell would need them. */
export const shellWord = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
