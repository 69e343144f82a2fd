// Two pictures side by side on cornerstone3D's stack viewports: window, zoom, pan, invert, slices, together or apart.
import { Enums, RenderingEngine, getShouldUseCPURendering, imageLoader, init as initCore, setUseCPURendering } from "@cornerstonejs/core";
import { Enums as ToolEnums, PanTool, StackScrollTool, ToolGroupManager, WindowLevelTool, ZoomTool, addTool, init as initTools } from "@cornerstonejs/tools";
import { forgetAll, imageIds, openSeries, registerFrames, stored, told } from "./frames.js";

const { Events, ViewportType } = Enums;
const { MouseBindings } = ToolEnums;
const TOOLS = { window: WindowLevelTool, zoom: ZoomTool, pan: PanTool, scroll: StackScrollTool };
const AHEAD = 3; // frames fetched at once in the background
let ready = false;
let viewers = 0;

function prepare(cpu) {
  if (!ready) {
    initCore();
    initTools();
    registerFrames();
    for (const tool of Object.values(TOOLS)) addTool(tool);
    ready = true;
  }
  if (cpu) setUseCPURendering(true);
}

/**
 * `panes`: [{element, base}], one or two. `onChange(pane number, state)` after each change of what is seen, `onError(pane number, error)`.
 * Throws where a series cannot be described.
 */
export async function createViewer({ panes, onChange = () => {}, onError = () => {}, cpu = false }) {
  prepare(cpu);
  const viewer = new Viewer(panes, onChange, onError);
  try {
    await viewer.open();
  } catch (error) {
    viewer.destroy();
    throw error;
  }
  return viewer;
}

class Viewer {
  constructor(panes, onChange, onError) {
    this.name = `likewise-${++viewers}`;
    this.panes = panes.map((pane, number) => ({ ...pane, id: `${this.name}-${number}`, number, wanted: null, inverted: false }));
    this.onChange = onChange;
    this.onError = onError;
    this.together = true;
    this.abort = new AbortController();
  }

  async open() {
    this.engine = new RenderingEngine(this.name);
    const abouts = await Promise.all(this.panes.map((pane) => openSeries(pane.base, this.abort.signal)));
    this.panes.forEach((pane, number) => (pane.about = abouts[number]));
    this.engine.setViewports(this.panes.map(({ id, element }) => ({ viewportId: id, type: ViewportType.STACK, element, defaultOptions: { background: [0, 0, 0] } })));
    const tools = ToolGroupManager.createToolGroup(this.name);
    for (const tool of Object.values(TOOLS)) tools.addTool(tool.toolName);
    for (const pane of this.panes) tools.addViewport(pane.id, this.name);
    this.tools = tools;
    this.use("window");
    await Promise.all(this.panes.map((pane) => this.show(pane)));
    for (const pane of this.panes) this.listen(pane);
    this.panes.forEach((pane) => void this.fetchAhead(pane));
    this.panes.forEach((pane) => this.onChange(pane.number, this.state(pane.number)));
  }

  async show(pane) {
    pane.viewport = this.engine.getViewport(pane.id);
    pane.inverted = Boolean(pane.about.inverted);
    pane.ids = imageIds(pane.base);
    await pane.viewport.setStack(pane.ids, Math.floor(pane.ids.length / 2));
    pane.viewport.setProperties({ voiRange: stored(pane.about, pane.about.window), invert: pane.inverted });
    pane.viewport.render();
  }

  listen(pane) {
    const { element } = pane;
    element.addEventListener(Events.STACK_NEW_IMAGE, () => this.moved(pane));
    element.addEventListener(Events.VOI_MODIFIED, () => this.windowed(pane));
    element.addEventListener(Events.CAMERA_MODIFIED, () => this.placed(pane));
    element.addEventListener(Events.IMAGE_RENDERED, () => this.changed(pane));
    this.sizes ??= new ResizeObserver(() => this.engine?.resize(true, false));
    this.sizes.observe(element);
  }

  changed(pane) {
    this.onChange(pane.number, this.state(pane.number));
  }

  // ---- what is told of a pane

  state(number) {
    const { about, viewport, inverted } = this.panes[number];
    const { voiRange } = viewport.getProperties();
    return {
      slice: viewport.getTargetImageIdIndex(),
      slices: about.count,
      window: told(about, voiRange ?? stored(about, about.window)),
      range: about.type === "int16" ? { center: [-1000, 1500], width: [1, 4000] } : { center: [0, 1], width: [0.01, 2] },
      inverted,
      zoom: viewport.getZoom(),
      cpu: getShouldUseCPURendering(),
    };
  }

  presets() {
    return this.panes.find((pane) => pane.about.presets?.length)?.about.presets ?? [];
  }

  get slices() {
    return Math.max(...this.panes.map((pane) => pane.about.count));
  }

  // ---- what people do

  /** Which tool the left button and one finger have: window, zoom, pan. */
  use(tool) {
    const wheel = this.slices > 1 ? "scroll" : "zoom";
    const bindings = { window: [], zoom: [{ mouseButton: MouseBindings.Secondary }], pan: [{ mouseButton: MouseBindings.Auxiliary }], scroll: [] };
    bindings[wheel].push({ mouseButton: MouseBindings.Wheel });
    bindings.zoom.push({ numTouchPoints: 2 });
    bindings[tool].unshift({ mouseButton: MouseBindings.Primary });
    for (const [name, { toolName }] of Object.entries(TOOLS)) {
      this.tools.setToolPassive(toolName, { removeAllBindings: true });
      if (bindings[name].length) this.tools.setToolActive(toolName, { bindings: bindings[name] });
    }
    this.tool = tool;
  }

  setTogether(together, from = 0) {
    this.together = together;
    if (!together) return;
    this.windowed(this.panes[from]);
    this.placed(this.panes[from]);
    this.moved(this.panes[from]);
  }

  window(number, window) {
    const pane = this.panes[number];
    pane.viewport.setProperties({ voiRange: stored(pane.about, { ...window, width: Math.max(window.width, 1e-3) }) });
    pane.viewport.render();
  }

  invert() {
    for (const pane of this.panes) {
      pane.inverted = !pane.inverted;
      pane.viewport.setProperties({ invert: pane.inverted });
      pane.viewport.render();
    }
  }

  reset() {
    this.quietly(() => {
      for (const pane of this.panes) {
        pane.inverted = Boolean(pane.about.inverted);
        pane.viewport.resetCamera();
        pane.viewport.setProperties({ voiRange: stored(pane.about, pane.about.window), invert: pane.inverted });
        pane.viewport.render();
      }
    });
    this.panes.forEach((pane) => this.changed(pane));
  }

  zoom(number, factor) {
    const { viewport } = this.panes[number];
    viewport.setZoom(Math.min(Math.max(viewport.getZoom() * factor, 0.2), 20));
    viewport.render();
  }

  pan(number, right, down) {
    const { viewport } = this.panes[number];
    const [x, y] = viewport.getPan();
    viewport.setPan([x + right, y + down]);
    viewport.render();
  }

  async goTo(number, slice) {
    const pane = this.panes[number];
    const wanted = Math.min(Math.max(slice, 0), pane.about.count - 1);
    if (wanted === pane.viewport.getTargetImageIdIndex()) return;
    try {
      await pane.viewport.setImageIdIndex(wanted);
    } catch (error) {
      this.onError(number, error);
    }
  }

  step(number, slices) {
    return this.goTo(number, this.panes[number].viewport.getTargetImageIdIndex() + slices);
  }

  // ---- the other pane follows

  others(pane) {
    return this.together && !this.quiet ? this.panes.filter((other) => other !== pane && other.viewport) : [];
  }

  quietly(act) {
    const before = this.quiet;
    this.quiet = true;
    try {
      act();
    } finally {
      this.quiet = before;
    }
  }

  /** Slices by their relative position: what two series share is the chest, not its number of slices. */
  moved(pane) {
    const at = pane.viewport.getTargetImageIdIndex();
    const answered = pane.wanted === at; // it follows the other: it must not lead it in turn
    pane.wanted = null;
    this.changed(pane);
    if (answered) return;
    for (const other of this.others(pane)) {
      if (pane.about.count < 2 || other.about.count < 2) continue;
      const slice = Math.round((at / (pane.about.count - 1)) * (other.about.count - 1));
      if (slice === other.viewport.getTargetImageIdIndex()) continue;
      other.wanted = slice;
      void this.goTo(other.number, slice);
    }
  }

  windowed(pane) {
    const { voiRange } = pane.viewport.getProperties();
    for (const other of this.others(pane)) {
      if (!voiRange || other.about.type !== pane.about.type) continue;
      this.quietly(() => other.viewport.setProperties({ voiRange: stored(other.about, told(pane.about, voiRange)) }));
      other.viewport.render();
    }
  }

  placed(pane) {
    for (const other of this.others(pane)) {
      const [zoom, pan] = [pane.viewport.getZoom(), pane.viewport.getPan()];
      this.quietly(() => {
        other.viewport.setZoom(zoom);
        other.viewport.setPan([pan[0], pan[1]]);
      });
      other.viewport.render();
    }
  }

  // ---- frames before they are asked for, nearest first

  async fetchAhead(pane) {
    const middle = Math.floor(pane.ids.length / 2);
    const order = pane.ids.map((_, n) => n).sort((a, b) => Math.abs(a - middle) - Math.abs(b - middle)).slice(1);
    const worker = async () => {
      while (order.length && !this.abort.signal.aborted) {
        try {
          await imageLoader.loadAndCacheImage(pane.ids[order.shift()]);
        } catch {
          return; // said when somebody looks at it
        }
      }
    };
    await Promise.all(Array.from({ length: AHEAD }, worker));
  }

  destroy() {
    this.abort.abort();
    this.sizes?.disconnect();
    ToolGroupManager.destroyToolGroup(this.name);
    this.engine?.destroy();
    this.engine = null;
    forgetAll();
  }
}
