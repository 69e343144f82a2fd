// What to doubt before reading on: the gravest first, each said once.
import { el } from "./dom.js";
import * as words from "./words.js";

// what makes the whole answer worth little, in the order in which it is told
const GRAVE = [
  ["not-frontal", "This does not look like a frontal chest film. It may be a lateral film, or no chest at all: then the cases below mean nothing for it."],
  ["lateral", null],
  ["other-body-part", null],
];
const GRAVE_WARNINGS = ["unlike-archive", "several-patients", "archived-picture", "near-copy", "nearer-than-strangers", "paediatric"];
const SAID_ALREADY = { "no-view": "view-unknown", lateral: "other-view" }; // a flag, and the warning that says the same at more length

export function doubts(told) {
  const grave = gravest(told);
  const others = lesser(told, grave.codes);
  const count = grave.said.length + others.length;
  if (!count) return null;
  return el("section", { class: grave.codes.size ? "warnings grave" : "warnings", "aria-labelledby": "warnings-title" },
    el("h2", { id: "warnings-title" }, el("span", { class: "warning-sign", "aria-hidden": "true" }, "!"), `Read with doubt: ${words.plural(count, "reason")}`),
    el("ul", {}, grave.said.map((one) => el("li", {}, el("strong", {}, one))), others.map((one) => el("li", {}, one))));
}

function gravest(told) {
  const flags = new Map(told.query.flags.map((flag) => [flag.code, flag.message]));
  const codes = new Set();
  const said = [];
  for (const [code, sentence] of GRAVE) {
    if (!flags.has(code)) continue;
    codes.add(code);
    said.push(sentence ?? `${words.capital(flags.get(code))}.`);
  }
  if (told.warnings.some((one) => one.code === "unlike-archive")) codes.add("unlike-archive");
  if (told.withheld) said.push(`${words.plural(told.withheld, "case")} left out for being almost this very picture: probably this patient’s own.`);
  said.push(...told.warnings.filter((one) => GRAVE_WARNINGS.includes(one.code)).map((one) => one.message));
  return { said, codes };
}

function lesser(told, grave) {
  const codes = new Set(told.warnings.map((one) => one.code));
  const flags = told.query.flags
    .filter(({ code }) => !grave.has(code) && !codes.has(SAID_ALREADY[code]) && !(code === "no-lungs" && grave.has("not-frontal")))
    .map(({ message }) => `Your scan: ${message}.`);
  const few = Object.values(told.outcomes).filter((one) => one.events === null).map((one) => one.title);
  const others = told.warnings
    .filter(({ code }) => !["query-flagged", "few-known", ...GRAVE_WARNINGS].includes(code))
    .map((one) => one.message);
  const said = [...flags, ...others];
  if (few.length && told.neighbours.length) said.push(`Too few outcomes are recorded of these cases to say anything of ${listed(few)}.`);
  if (told.sites_left_out.length) said.push(`Left out: ${told.sites_left_out.join(", ")}, and cases whose site is not recorded.`);
  return [...new Set(said)];
}

function listed(names) {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
}
