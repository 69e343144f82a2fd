// What codes of the archive are called on the page. A code that is not known is shown as it is; nothing becomes "no" here.

export const NOT_RECORDED = "not recorded";

const STATUS = {
  positive: "COVID-19 positive",
  positive_swab: "COVID-19 positive (swab)",
  negative: "COVID-19 negative",
  negative_unconfirmed: "COVID-19 negative, unconfirmed",
  pre_covid: "before COVID-19",
  conflict: "tests disagree",
  unknown: "not known",
};
const PHASE = { pre: "before the illness", acute: "during the acute illness", post: "after the acute illness" };
const SEX = { F: "female", M: "male" };
const MODALITY = { CR: "X-ray (CR)", DX: "X-ray (DX)", CT: "CT", MR: "MR" };
const SEVERITY = { 1: "mild", 2: "moderate", 3: "severe" };
const COVID_CODE = { 0: "normal", 1: "classic or probable COVID-19", 2: "indeterminate", 3: "not COVID-19" };

export const status = (code) => named(STATUS, code);
export const phase = (code) => named(PHASE, code);
export const sex = (code) => named(SEX, code);
export const modality = (code) => named(MODALITY, code);
export const severity = (code) => named(SEVERITY, code);
export const covidCode = (code) => named(COVID_CODE, code);

export function capital(text) {
  // "ITU admission" stays, "death" becomes "Death"
  return text ? text[0].toUpperCase() + text.slice(1) : "";
}

export function lower(text) {
  return text ? text[0].toLowerCase() + text.slice(1) : "";
}

/** With a capital and a full stop. */
export function sentence(text) {
  return /[.!?]$/.test(text) ? capital(text) : `${capital(text)}.`;
}

export function count(number) {
  return Number(number).toLocaleString("en-GB");
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function percent(share) {
  return `${Math.round(100 * share)}\u00a0%`;
}

/** How near, for this archive: a percentile among its scans' similarities to their own best match. */
export function nearness(percentile) {
  if (percentile === null || percentile === undefined) return "How close that is for this archive was not measured";
  if (percentile >= 100) return "Very close: as close as the archive’s own best matches";
  if (percentile < 1) return "Hardly alike: less close than 99 % of the archive’s own best matches";
  return `${band(percentile)}: closer than ${Math.floor(percentile)} % of the archive’s own best matches`;
}

function band(percentile) {
  return percentile >= 90 ? "Very close" : percentile >= 50 ? "Close" : percentile >= 10 ? "Less close" : "Hardly alike";
}

/** The day of an event from the scan on, which may lie before it. */
export function day(days) {
  if (days === null || days === undefined) return "day not recorded";
  if (days === 0) return "on the day of the scan";
  return days > 0 ? `${plural(days, "day")} after the scan` : `${plural(-days, "day")} before the scan`;
}

function named(table, code) {
  if (code === null || code === undefined || code === "") return null;
  return table[code] ?? String(code).replaceAll("_", " ");
}
