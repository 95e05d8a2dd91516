// Colours Rhai: the source in lines, each word in a span of its kind.

import { h } from "./dom.js";

const KEYWORDS = new Set("let const if else switch while loop do until for in continue break return throw try catch fn private import export as this is_shared true false global".split(" "));

const TOKEN = new RegExp(
  [
    "(?<doc>//[!/][^\\n]*)",
    "(?<comment>//[^\\n]*|/\\*[\\s\\S]*?(?:\\*/|$))",
    "(?<string>\"(?:\\\\[\\s\\S]|[^\"\\\\])*\"?|`[^`]*`?|'(?:\\\\.[^']*|[^'\\\\])')",
    "(?<number>\\b\\d[\\d_]*(?:\\.\\d[\\d_]*)?(?:[eE][+-]?\\d+)?\\b|\\b0[xob][\\da-fA-F_]+\\b)",
    "(?<word>[A-Za-z_]\\w*)",
  ].join("|"),
  "g",
);

/** The source as lines (`span`s with what they hold), the one with this number (from 1) marked. */
export function highlight(source, marked) {
  const lines = [];
  let line;
  const begin = () => lines.push((line = h("span.code-line", { class: lines.length + 1 === marked ? "code-line marked" : "code-line" })));
  const put = (text, kind) => {
    text.split("\n").forEach((part, index) => {
      if (index) {
        line.append("\n");
        begin();
      }
      if (part) line.append(kind ? h("span", { class: `code-${kind}` }, part) : part);
    });
  };
  begin();
  const text = source.replace(/\n$/, "");
  let at = 0;
  for (const match of text.matchAll(TOKEN)) {
    put(text.slice(at, match.index));
    at = match.index + match[0].length;
    const { word } = match.groups;
    if (word === undefined) put(match[0], Object.keys(match.groups).find((name) => match.groups[name] !== undefined));
    else if (KEYWORDS.has(word)) put(word, "keyword");
    else if (/^\s*\(/.test(text.slice(at, at + 20))) put(word, "call");
    else if (text.startsWith("::", at)) put(word, "space");
    else put(word);
  }
  put(text.slice(at));
  return lines;
}
