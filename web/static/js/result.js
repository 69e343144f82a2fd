// The answer: the query beside its neighbours, what to doubt first, what happened, and the filters that ask again.
import { queryBase } from "./api.js";
import { cards, picture, withdrawn } from "./cards.js";
import { el, replace } from "./dom.js";
import { doubts } from "./doubts.js";
import { outcomes } from "./outcomes.js";
import * as words from "./words.js";

/** Draws into `place`; `redraw(answer)` later draws other neighbours of the same query, leaving the filters as they are. */
export function result(place, { id, answer, filters, whose, onOpen, onAsk, onNew }) {
  const title = el("h1", { id: "result-title", tabindex: "-1" });
  const about = el("p", { class: "small" });
  const doubted = el("div", { class: "doubts" });
  const notice = el("div", { class: "notices", role: "status" });
  const lost = el("div", { class: "notices", role: "status" });
  const printed = el("p", { class: "print-only small" });
  const panel = el("div");
  const list = el("div");
  const answered = el("div", { class: "answered" }, panel, list);

  let stamp = () => undefined;
  window.onbeforeprint = () => stamp();

  function redraw(told) {
    const k = told.neighbours.length;
    title.textContent = k ? `The ${k === 1 ? "most similar recorded case" : `${k} most similar recorded cases`}` : "No similar case";
    about.textContent = `Chosen from ${words.plural(told.eligible, "eligible scan")}; archive of ${words.plural(told.snapshot.patients, "patient")}, made ${date(told.snapshot.created)}.`;
    replace(doubted, doubts(told));
    replace(panel, outcomes(told));
    replace(list, cards(told, { whose, onOpen, onAsk }));
    stamp = () => (printed.textContent = `Printed ${new Date().toLocaleString("en-GB")} from Likewise, snapshot ${told.snapshot.name}. Filters: ${filters?.said() || "none"}. Research use only — not a medical device.`);
    stamp();
  }

  /** Takes cases off the page, and the counts in which they are. */
  function withdraw(refs) {
    for (const one of list.querySelectorAll("[data-ref]")) if (refs.has(one.dataset.ref)) replace(one, withdrawn());
    replace(panel);
  }

  replace(
    place,
    el("div", { class: "result-top" }, el("div", {}, title, about),
      el("p", { class: "result-actions no-print" }, el("button", { type: "button", onclick: () => print() }, "Print or save as PDF"), el("button", { type: "button", onclick: onNew }, "New scan"))),
    printed,
    lost,
    notice,
    doubted,
    el("div", { class: "side-by-side" }, queryCard(id, answer, whose, onOpen), el("div", { class: "answer" }, filters?.element, answered)),
  );
  redraw(answer);
  title.focus();
  return { redraw, withdraw, notice, lost, answered };
}

/** What could not be done, in words; with the request's id for whoever is asked for help. */
export function trouble(problem) {
  const said = words.sentence(problem.message);
  return [el("p", {}, el("strong", {}, said)), problem.status === 422 ? el("p", {}, "What can be read: a chest film, or the axial slices of a whole chest CT; as DICOM, in a folder or a zip, and a film also as PNG.") : null, problem.requestId ? el("p", { class: "small" }, "If you ask for help, give this request id: ", el("code", {}, problem.requestId)) : null];
}

function queryCard(id, answer, whose, onOpen) {
  const { query } = answer;
  const view = query.view ? `view ${query.view}` : "view not stated";
  return el("aside", { class: "query-card", "aria-labelledby": "query-title" },
    el("h2", { id: "query-title" }, whose),
    el("button", { type: "button", class: "picture", "aria-label": `Look at ${words.lower(whose)}`, onclick: () => onOpen(null) }, picture(`${queryBase(id)}/preview`, ""), el("span", { class: "picture-hint", "aria-hidden": "true" }, "Look closer")),
    el("p", {}, [words.modality(query.modality) ?? (query.kind === "xray" ? "Film" : "Scan"), query.kind === "xray" ? view : null].filter(Boolean).join(", ")),
    steps(query));
}

function steps(query) {
  if (!query.steps?.length && !query.flags?.length) return null;
  return el("details", { class: "steps" }, el("summary", {}, "What was done to the pixels"),
    query.steps?.length ? el("ol", {}, query.steps.map((step) => el("li", {}, words.capital(step)))) : null,
    query.flags?.length ? el("ul", {}, query.flags.map((flag) => el("li", {}, `${words.capital(flag.message)}.`))) : null);
}

function date(created) {
  const parsed = new Date(created);
  return Number.isNaN(parsed.getTime()) ? created : parsed.toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric" });
}
