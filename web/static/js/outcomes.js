// What happened to the neighbours, as counts: the share with its interval, of how many it is known, and the whole archive's own beside it.
import { el, svg } from "./dom.js";
import { curve } from "./survival.js";
import * as words from "./words.js";

const [WIDTH, LEFT, RIGHT] = [280, 8, 8];
const x = (share) => LEFT + share * (WIDTH - LEFT - RIGHT);

export function outcomes(answer) {
  const k = answer.neighbours.length;
  if (!k || !Object.keys(answer.outcomes).length) return null;
  return el(
    "section",
    { class: "outcome-panel", "aria-labelledby": "outcomes-title" },
    el("h2", { id: "outcomes-title" }, "What was recorded of these patients"),
    el("p", { class: "small" }, `Among the ${k} most similar recorded cases, one vote a patient. Not a forecast for the patient in front of you.`),
    el("div", { class: "endpoints" }, Object.entries(answer.outcomes).map(([name, one]) => endpoint(name, one))),
    el("p", { class: "legend small" }, legend("dot"), " share among these cases, with its 95 % interval ", legend("tick"), " the whole archive under these filters"),
  );
}

function endpoint(name, one) {
  const { asked, known, events } = one;
  const missing = asked - known;
  const title = words.capital(one.title);
  const said =
    events === null
      ? el("p", { class: "share few" }, el("strong", {}, "Too few to say anything"))
      : el("p", { class: "share" }, el("strong", {}, `${events} of ${known}`), ` known (${words.percent(events / known)}; 95 % interval ${Math.round(100 * one.low)} to ${words.percent(one.high)})`);
  const archive = one.archive.known
    ? `Archive: ${words.count(one.archive.events)} of ${words.count(one.archive.known)} known (${words.percent(one.archive.events / one.archive.known)})`
    : "Archive: not recorded of anybody";
  return el(
    "div",
    { class: "endpoint-box" },
    el("h3", {}, title),
    said,
    bar(title, one),
    el("p", { class: "small" }, `Known of ${known} of ${asked}`, missing ? el("span", { class: "absent" }, `; ${words.NOT_RECORDED} of ${missing}`) : "", "."),
    el("p", { class: "small" }, `${archive}.`),
    el("details", { class: "time" }, el("summary", {}, `Time to ${one.title}`), curve(name, one)),
  );
}

function bar(title, one) {
  const parts = [0, 0.25, 0.5, 0.75, 1].map((share) => svg("line", { x1: x(share), x2: x(share), y1: 6, y2: 26, class: "grid" }));
  parts.push(...[0, 0.5, 1].map((share) => svg("text", { x: x(share), y: 40, class: "tick-text", "text-anchor": share === 0 ? "start" : share === 1 ? "end" : "middle" }, words.percent(share))));
  if (one.archive.known) parts.push(svg("line", { x1: x(one.archive.events / one.archive.known), x2: x(one.archive.events / one.archive.known), y1: 3, y2: 29, class: "archive" }));
  let said = `${title}: too few known to draw`;
  if (one.events !== null) {
    const share = one.events / one.known;
    parts.push(svg("line", { x1: x(one.low), x2: x(one.high), y1: 16, y2: 16, class: "whisker" }));
    parts.push(...[one.low, one.high].map((end) => svg("line", { x1: x(end), x2: x(end), y1: 10, y2: 22, class: "whisker" })));
    parts.push(svg("circle", { cx: x(share), cy: 16, r: 5.5, class: "dot" }));
    said = `${title}: ${words.percent(share)}, interval ${words.percent(one.low)} to ${words.percent(one.high)}`;
  }
  return svg("svg", { viewBox: `0 0 ${WIDTH} 44`, class: "bar", role: "img", "aria-label": said }, parts);
}

function legend(kind) {
  const shapes = {
    dot: [svg("line", { x1: 1, x2: 27, y1: 8, y2: 8, class: "whisker" }), svg("circle", { cx: 14, cy: 8, r: 5, class: "dot" })],
    tick: [svg("line", { x1: 14, x2: 14, y1: 0, y2: 16, class: "archive" })],
  };
  return svg("svg", { viewBox: "0 0 28 16", class: "legend-mark", "aria-hidden": "true", focusable: "false" }, shapes[kind]);
}
