// A neighbour as a card: its picture, how near it is, who it was in broad terms, and what happened.
import { caseBase } from "./api.js";
import { el, svg } from "./dom.js";
import * as words from "./words.js";

export function cards(answer, { whose, onOpen, onAsk }) {
  if (!answer.neighbours.length) return el("p", { class: "empty" }, "No case is left under these filters. Take one of them off.");
  return el("section", { "aria-labelledby": "cards-title" }, el("h2", { id: "cards-title", class: "visually-hidden" }, "The cases"), el("ol", { class: "cards" }, answer.neighbours.map((one) => el("li", { "data-ref": one.ref }, card(one, answer, whose, onOpen, onAsk)))));
}

function card(one, answer, whose, onOpen, onAsk) {
  const title = `card-${one.rank}`;
  return el(
    "article",
    { class: "card", "aria-labelledby": title },
    el("button", { type: "button", class: "picture", "aria-label": `Compare case ${one.rank} with ${words.lower(whose)}`, onclick: () => onOpen(one) },
      picture(`${caseBase(one.ref)}/preview`, ""),
      el("span", { class: "picture-hint", "aria-hidden": "true" }, "Compare"),
    ),
    el("div", { class: "card-body" },
      el("h3", { id: title }, `Case ${one.rank}`, el("span", { class: "similarity" }, `similarity ${one.similarity.toFixed(2)}`)),
      el("p", { class: "nearness" }, words.nearness(one.percentile)),
      el("ul", { class: "outcomes", "aria-label": "What happened" }, Object.entries(answer.outcomes).map(([name, { title: endpoint }]) => outcome(endpoint, one.outcome[name], one.observed_days))),
      facts(one),
      el("p", { class: "card-actions" }, el("button", { type: "button", class: "plain", "aria-label": `Search from case ${one.rank}`, onclick: () => onAsk(one) }, "Search from this case")),
    ),
  );
}

/** In the place of a case that may be shown no more. */
export function withdrawn() {
  return el("p", { class: "empty" }, "This case is no longer shown: it was withdrawn, or the archive was renewed.");
}

/** A picture, or words in its place where there is none. */
export function picture(address, alternative) {
  const image = el("img", { src: address, alt: alternative, decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(el("span", { class: "no-picture" }, "no picture")), { once: true });
  return image;
}

/** Yes, no and not recorded differ in word, shape and colour: a filled diamond, an empty ring, a dashed line. */
function outcome(title, event, observedDays) {
  const state = event?.state ?? "not_recorded";
  const said = {
    yes: ["Yes", words.day(event?.days)],
    no: ["No", observedDays === null || observedDays === undefined ? "observed for an unknown time" : observedDays === 0 ? "observed on the day of the scan only" : `observed for ${words.plural(observedDays, "day")}`],
    not_recorded: ["Not recorded", ""],
  }[state];
  return el("li", { class: `outcome ${state}` }, mark(state), el("span", {}, el("span", { class: "endpoint" }, `${words.capital(title)}: `), el("strong", {}, said[0]), said[1] ? `, ${said[1]}` : ""));
}

export function mark(state) {
  const shape = {
    yes: () => svg("path", { d: "M8 1 15 8 8 15 1 8z", class: "mark-yes" }),
    no: () => svg("circle", { cx: 8, cy: 8, r: 5.5, class: "mark-no" }),
    not_recorded: () => svg("path", { d: "M1 8h14", class: "mark-unknown" }),
  }[state]();
  return svg("svg", { viewBox: "0 0 16 16", class: "mark", "aria-hidden": "true", focusable: "false" }, shape);
}

function facts(one) {
  const days = one.days_from_index;
  const since = days === null || days === undefined ? null : `${words.plural(Math.abs(days), "day")} ${days < 0 ? "before" : "after"} the first positive test`;
  const rows = [
    ["Scan", [words.modality(one.modality), one.view].filter(Boolean).join(", ") || null],
    ["Patient", [words.sex(one.sex), one.age_band ? `${one.age_band.replace("-", "–")} years` : null].filter(Boolean).join(", ") || null],
    ["Site", one.site],
    ["COVID-19 at the scan", [words.status(one.status_at_scan), words.phase(one.phase), since].filter(Boolean).join(", ") || null],
    ["Severity of the film", words.severity(one.severity)],
    ["Reporting code", words.covidCode(one.covid_code)],
    ["Case", one.case_id],
    ["Pseudonym", one.patient_id],
    ["Hospital", one.site_name],
    ["Scan date", one.scan_date],
  ];
  const identifiers = new Set(["Case", "Pseudonym", "Hospital", "Scan date"]); // researchers are told these; others are not told of them either
  const shown = rows.filter(([name, value]) => value || (!identifiers.has(name) && !(one.modality === "CT" && ["Severity of the film", "Reporting code"].includes(name))));
  return el("dl", { class: "facts" }, shown.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", value ? {} : { class: "absent" }, value ?? words.NOT_RECORDED))));
}
