// What the answer is narrowed to. Every change asks again at once.
import { el } from "./dom.js";
import * as words from "./words.js";

const NUMBERS = [10, 20, 50];

/** `choices`: what GET /filters tells. `onChange` after each change. */
export class Filters {
  constructor(choices, { ofCase, onChange }) {
    this.choices = choices;
    this.ofCase = ofCase; // the site of an archived case is known; that of an upload has to be named
    this.onChange = onChange;
    this.otherSites = false;
    this.element = this.#form();
  }

  parameters() {
    const found = new URLSearchParams();
    for (const [name, value] of new FormData(this.form)) if (value !== "") found.set(name, value);
    if (found.get("view") === "same") found.delete("view");
    if (found.get("k") === String(NUMBERS[0])) found.delete("k");
    if (this.otherSites && !this.#isSiteMissing()) found.set("other_sites", "1");
    if (this.otherSites && this.site?.value) found.set("own_site", this.site.value);
    return found;
  }

  /** What is set, in words. */
  said() {
    return [...this.parameters()].map(([name, value]) => this.#saidOf(name, value)).filter(Boolean).join("; ");
  }

  #saidOf(name, value) {
    if (name === "other_sites") return "other hospitals only";
    if (name === "own_site") return `your hospital is ${value}`;
    const control = this.form.elements.namedItem(name);
    const title = control.getAttribute("aria-label") ?? control.closest("label").firstChild.textContent;
    return `${title}: ${control.selectedOptions?.[0].textContent ?? value}`;
  }

  #isSiteMissing() {
    return Boolean(this.otherSites && this.site && !this.site.value);
  }

  get count() {
    return [...this.parameters().keys()].filter((name) => !["k", "own_site"].includes(name)).length;
  }

  disable(disabled) {
    for (const one of this.element.querySelectorAll("select, input, button")) one.disabled = disabled;
  }

  told() {
    const set = this.count;
    this.summary.textContent = set ? `Filters (${set} set)` : "Filters";
    this.clear.hidden = !set;
  }

  #form() {
    const { choices } = this;
    const ranges = new Set(choices.ranges ?? []);
    const fields = [
      this.#select("view", "View", [["same", "same as the scan’s"], ["any", "any view"]]),
      this.#listed("status", "COVID-19 at the scan", words.status),
      this.#listed("phase", "Phase", words.phase),
      this.#listed("sex", "Sex", words.sex),
      ranges.has("age_min") && this.#range("Age", "age_min", "age_max", { type: "number", min: 0, max: 120, step: 1, inputmode: "numeric" }),
      this.#listed("site", "Site"),
      this.#listed("scanner", "Scanner"),
      ranges.has("date_from") && this.#range("Scan date", "date_from", "date_to", { type: "date" }),
      choices.outcome_recorded?.length ? this.#select("outcome_recorded", "Outcome recorded", [["", "any or none"], ...choices.outcome_recorded.map(({ name, title }) => [name, title])]) : null,
      this.#select("k", "How many cases", NUMBERS.map((k) => [String(k), String(k)])),
    ].filter(Boolean);
    this.form = el("form", { class: "filter-form", onsubmit: (event) => event.preventDefault(), onchange: () => this.#changed() }, fields);
    this.clear = el("button", { type: "button", class: "plain", hidden: true, onclick: () => this.#clear() }, "Take all filters off");
    this.others = el("button", { type: "button", "aria-pressed": "false", onclick: () => this.#others() }, "Other hospitals only");
    const ownSite = this.ofCase ? null : this.#ownSite();
    this.note = el("p", { class: "small note", role: "status" });
    this.summary = el("summary", {}, "Filters");
    return el("section", { class: "filters no-print", "aria-label": "Filters" },
      el("div", { class: "filter-top" }, this.others, ownSite, this.clear), this.note,
      el("details", { class: "filter-more" }, this.summary, this.form));
  }

  #listed(name, title, said = (value) => value) {
    const values = this.choices[name];
    return values?.length ? this.#select(name, title, [["", "any"], ...values.map((value) => [value, words.capital(said(value))])]) : null;
  }

  #select(name, title, options) {
    return el("label", {}, el("span", {}, title), el("select", { name }, options.map(([value, text]) => el("option", { value }, text))));
  }

  #range(title, from, to, attributes) {
    return el("fieldset", {}, el("legend", {}, title), el("input", { name: from, "aria-label": `${title} from`, ...attributes }), el("span", { "aria-hidden": "true" }, "–"), el("input", { name: to, "aria-label": `${title} to`, ...attributes }));
  }

  #ownSite() {
    const sites = this.choices.site ?? [];
    this.site = el("select", { name: "own_site", onchange: () => this.#changed() }, el("option", { value: "" }, "choose"), sites.map((site) => el("option", { value: site }, site)));
    this.siteLabel = el("label", { class: "own-site", hidden: true }, el("span", {}, "Your hospital is"), this.site);
    return this.siteLabel;
  }

  #others() {
    this.otherSites = !this.otherSites;
    this.others.setAttribute("aria-pressed", String(this.otherSites));
    if (this.siteLabel) this.siteLabel.hidden = !this.otherSites;
    this.#changed();
    if (this.#isSiteMissing()) this.site.focus();
  }

  #clear() {
    this.form.reset();
    this.otherSites = false;
    this.others.setAttribute("aria-pressed", "false");
    if (this.siteLabel) this.siteLabel.hidden = true;
    this.others.focus();
    this.#changed();
  }

  #changed() {
    this.note.textContent = this.#isSiteMissing() ? "Until you choose which site of the archive is your hospital, its cases are not left out." : "";
    this.told();
    if (!this.form.reportValidity()) {
      this.note.textContent = "An entry cannot be used, so what you see is without it.";
      return;
    }
    this.onChange();
  }
}
