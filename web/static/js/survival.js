// Time to an event (Kaplan and Meier): the step curve with its band, and how many were still observed without it.
import { el, svg } from "./dom.js";
import * as words from "./words.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [300, 170, 42, 26, 8, 10];

export function curve(name, one) {
  const time = one.time;
  if (time.reason || !time.steps?.length) return el("p", { class: "small" }, `No curve: ${time.reason ?? "nothing is timed"}.`, left(time));
  return el("div", {}, drawing(one, time), table(one, time), middle(time), left(time));
}

function drawing(one, time) {
  const end = Math.max(...time.horizons.map((horizon) => horizon.days), time.steps.at(-1).days, 1);
  const last = Math.max(time.steps.at(-1).days, ...time.horizons.filter((horizon) => horizon.survival !== null).map((horizon) => horizon.days));
  const x = (days) => LEFT + (days / end) * (WIDTH - LEFT - RIGHT);
  const y = (share) => TOP + (1 - share) * (HEIGHT - TOP - BOTTOM);
  const until = (number) => time.steps[number + 1]?.days ?? last;
  const parts = [0, 0.5, 1].flatMap((share) => [
    svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(share), y2: y(share), class: "grid" }),
    svg("text", { x: LEFT - 4, y: y(share) + 4, class: "tick-text", "text-anchor": "end" }, words.percent(share)),
  ]);
  parts.push(...[0, ...time.horizons.map((horizon) => horizon.days)].map((days) => svg("text", { x: x(days), y: HEIGHT - 8, class: "tick-text", "text-anchor": "middle" }, String(days))));
  time.steps.forEach((step, number) => {
    if (step.low !== null) parts.push(svg("rect", { x: x(step.days), y: y(step.high), width: Math.max(x(until(number)) - x(step.days), 0), height: y(step.low) - y(step.high), class: "band" }));
  });
  const path = time.steps.map((step, number) => `${number ? `V${y(step.survival)}` : `M${x(step.days)} ${y(step.survival)}`}H${x(until(number))}`).join("");
  parts.push(svg("path", { d: path, class: "curve" }));
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "survival", role: "img", "aria-label": `Share still without ${one.title} by days after the scan; the table below holds the figures` }, parts);
}

function table(one, time) {
  return el(
    "table",
    { class: "horizons" },
    el("caption", {}, `Still without ${one.title}, by days after the scan`),
    el("thead", {}, el("tr", {}, ["Day", "Still observed", "Without it", "95 % band"].map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, time.horizons.map((horizon) =>
      el("tr", {}, el("th", { scope: "row" }, String(horizon.days)), el("td", {}, String(horizon.at_risk)),
        el("td", {}, horizon.survival === null ? "nobody observed" : words.percent(horizon.survival)),
        el("td", {}, horizon.low === null ? "not calculable" : `${Math.round(100 * horizon.low)} to ${words.percent(horizon.high)}`)))),
  );
}

function middle(time) {
  if (time.median_days === null || time.median_days === undefined) return null;
  const [from, to] = time.quartiles_days;
  return el("p", { class: "small" }, `Of those who had it: median day ${time.median_days}${from === to ? "" : `, half of them between day ${from} and day ${to}`}.`);
}

function left(time) {
  const apart = [
    [time.before_scan, "had it before the scan"],
    [time.undated, "had it on an unknown day"],
    [time.unobserved, "did not, observed for an unknown time"],
  ].filter(([number]) => number);
  return apart.length ? el("p", { class: "small" }, ` Not in the curve: ${apart.map(([number, what]) => `${number} ${what}`).join("; ")}.`) : null;
}
