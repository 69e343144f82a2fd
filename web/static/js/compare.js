// The window in which a scan and a case are looked at side by side. The viewer itself (cornerstone3D) is loaded when first wanted.
import { caseBase, queryBase } from "./api.js";
import { el, replace } from "./dom.js";
import { capital, percent } from "./words.js";

const VIEWER = new URL("../viewer/viewer.js", import.meta.url).href;
const ZOOM = 1.25;
const PAN_PIXELS = 40;
const TOOLS = [["window", "Window"], ["zoom", "Zoom"], ["pan", "Pan"]];

/** `whose` scan it is, in words. `neighbour` null: the scan alone. `neighbours`: those that can be turned to. */
export function compare({ id, whose, neighbour, neighbours, onClose }) {
  const opener = document.activeElement;
  const dialog = el("dialog", { class: "viewer", "aria-labelledby": "viewer-title" });
  document.body.append(dialog);
  const shown = new Comparison(dialog, id, whose, neighbours);
  dialog.addEventListener("close", () => {
    shown.end();
    dialog.remove();
    if (opener?.isConnected) opener.focus();
    onClose();
  });
  dialog.showModal();
  void shown.show(neighbour);
  return { close: () => dialog.close(), shows: (ref) => shown.ref === ref };
}

class Comparison {
  constructor(dialog, id, whose, neighbours) {
    Object.assign(this, { dialog, id, whose, neighbours, viewer: null, turn: 0 });
  }

  end() {
    this.turn += 1;
    this.viewer?.destroy();
    this.viewer = null;
  }

  async show(neighbour) {
    this.end();
    const turn = this.turn;
    this.ref = neighbour?.ref ?? null;
    delete this.dialog.dataset.ready;
    this.panes = [{ title: this.whose, base: queryBase(this.id) }];
    if (neighbour) this.panes.push({ title: `Case ${neighbour.rank}`, base: caseBase(neighbour.ref) });
    this.message = el("p", { class: "viewer-message", role: "status" }, "Fetching the pictures …");
    replace(this.dialog, this.#top(neighbour), this.message, el("div", { class: "panes", "data-panes": this.panes.length }, this.panes.map((pane, number) => this.#pane(pane, number))));
    this.dialog.querySelector(".pane-picture").focus();
    try {
      const { createViewer } = await import(VIEWER);
      if (turn !== this.turn) return;
      const viewer = await createViewer({
        panes: this.panes.map(({ canvas, base }) => ({ element: canvas, base })),
        onChange: (number, state) => turn === this.turn && this.#told(number, state),
        onError: (_number, error) => (this.message.textContent = error.message),
      });
      if (turn !== this.turn) {
        viewer.destroy();
        return;
      }
      this.viewer = viewer;
      this.message.textContent = "";
      this.dialog.dataset.ready = "yes";
      this.#presets();
      this.panes.forEach((_pane, number) => this.#told(number, viewer.state(number)));
    } catch (error) {
      if (turn === this.turn) this.message.textContent = `The pictures cannot be shown. ${error.message}`;
    }
  }

  #top(neighbour) {
    const at = neighbour ? this.neighbours.indexOf(neighbour) : -1;
    const to = (next, text) => el("button", { type: "button", "aria-label": `${text} case`, disabled: !next, onclick: () => this.show(next) }, text);
    const tool = (name, text, number) => el("label", { class: "choice" }, el("input", { type: "radio", name: "tool", value: name, checked: number === 0, onchange: () => this.viewer?.use(name) }), text);
    this.presets = el("span", { class: "presets", role: "group", "aria-label": "Presets" });
    this.together = el("input", { type: "checkbox", checked: true, onchange: () => this.viewer?.setTogether(this.together.checked) });
    return el("div", { class: "viewer-top" },
      el("h2", { id: "viewer-title" }, neighbour ? `${this.whose} beside case ${neighbour.rank}` : this.whose),
      el("button", { type: "button", class: "close", onclick: () => this.dialog.close() }, "Close (Esc)"),
      el("fieldset", { class: "tools", "aria-label": "What dragging does" }, el("span", { class: "choice", "aria-hidden": "true" }, "Drag:"), TOOLS.map(([name, text], number) => tool(name, text, number))),
      this.presets,
      el("button", { type: "button", onclick: () => this.viewer?.invert() }, "Invert"),
      el("button", { type: "button", onclick: () => this.viewer?.reset() }, "Reset"),
      neighbour ? el("label", { class: "choice" }, this.together, "Both together") : null,
      neighbour ? el("span", { class: "turns" }, to(this.neighbours[at - 1], "Previous"), to(this.neighbours[at + 1], "Next")) : null);
  }

  #presets() {
    const found = this.viewer.presets();
    if (found.length < 2) return;
    replace(this.presets, found.map((preset) => el("button", { type: "button", onclick: () => this.panes.forEach((_pane, number) => this.viewer.window(number, preset)) }, capital(preset.name))));
  }

  #pane(pane, number) {
    const slider = (text, apply) => {
      const input = el("input", { type: "range", step: "any", oninput: () => this.viewer && apply(Number(input.value)) });
      return { input, label: el("label", {}, el("span", {}, text), input) };
    };
    pane.level = slider("Level", (center) => this.viewer.window(number, { ...this.viewer.state(number).window, center }));
    pane.width = slider("Width", (width) => this.viewer.window(number, { ...this.viewer.state(number).window, width }));
    pane.slice = slider("Slice", (slice) => this.viewer.goTo(number, Math.round(slice)));
    pane.slice.input.step = 1;
    pane.slice.label.hidden = true;
    pane.said = el("p", { class: "pane-said" });
    pane.canvas = el("div", { class: "pane-canvas" }); // within what takes the keys: cornerstone would keep Tab and Escape from the browser
    pane.picture = el("div", { class: "pane-picture", tabindex: "0", role: "application", "aria-label": `${pane.title}: arrow keys step through slices, plus and minus zoom, shift and arrows move, I inverts, R resets`, onkeydown: (event) => this.#key(event, number), oncontextmenu: (event) => event.preventDefault() }, pane.canvas);
    return el("section", { class: "pane", "aria-label": pane.title }, el("div", { class: "pane-top" }, el("h3", {}, pane.title), pane.said), pane.picture,
      el("div", { class: "sliders" }, pane.level.label, pane.width.label, pane.slice.label));
  }

  #told(number, state) {
    const pane = this.panes[number];
    const set = ({ input }, min, max, value) => {
      Object.assign(input, { min, max });
      if (document.activeElement !== input || Math.abs(Number(input.value) - value) > (max - min) / 500) input.value = value;
    };
    const { window, range } = state;
    const said_ = range.width[1] > 10 ? (value) => value.toFixed(0).replace("-", "−") : percent; // HU, or a share of the film's range
    set(pane.level, ...range.center, window.center);
    set(pane.width, ...range.width, window.width);
    pane.slice.label.hidden = state.slices < 2;
    set(pane.slice, 0, state.slices - 1, state.slice);
    const slice = state.slices > 1 ? `Slice ${state.slice + 1} of ${state.slices} · ` : "";
    const said = `${slice}level ${said_(window.center)}, width ${said_(window.width)} · zoom ${Math.round(100 * state.zoom)} %${state.inverted ? " · inverted" : ""}`;
    if (pane.said.textContent !== said) pane.said.textContent = said;
  }

  #key(event, number) {
    if (!this.viewer || event.ctrlKey || event.altKey || event.metaKey) return;
    const { viewer } = this;
    const moves = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
    const steps = { ArrowUp: -1, ArrowLeft: -1, PageUp: -10, ArrowDown: 1, ArrowRight: 1, PageDown: 10 };
    const acts = {
      "+": () => viewer.zoom(number, ZOOM),
      "=": () => viewer.zoom(number, ZOOM),
      "-": () => viewer.zoom(number, 1 / ZOOM),
      i: () => viewer.invert(),
      r: () => viewer.reset(),
      Home: () => viewer.goTo(number, 0),
      End: () => viewer.goTo(number, Infinity),
    };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.shiftKey && moves[key]) viewer.pan(number, PAN_PIXELS * moves[key][0], PAN_PIXELS * moves[key][1]);
    else if (steps[key]) viewer.step(number, steps[key]);
    else if (acts[key]) acts[key]();
    else return;
    event.preventDefault();
  }
}
