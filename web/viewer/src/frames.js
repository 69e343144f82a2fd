// The server's decoded frames as cornerstone images, under the scheme `likewise:`. Pixels stay in stored units: slope 1, intercept 0.
import { cache, imageLoader, metaData, utilities } from "@cornerstonejs/core";

const SCHEME = "likewise";
const ARRAYS = { uint16: Uint16Array, int16: Int16Array };
const series = new Map(); // base address -> what /frames says

export class FramesError extends Error {}

export function registerFrames() {
  imageLoader.registerImageLoader(SCHEME, loadFrame);
  metaData.addProvider(describe, 10000);
}

/** What the server says of a query's or a case's frames, asked once. `base` ends before `/frames`. */
export async function openSeries(base, signal) {
  const response = await fetch(`${base}/frames`, { signal, credentials: "same-origin", headers: { Accept: "application/json" } });
  if (!response.ok) throw await failure(response);
  const about = await response.json();
  if (!ARRAYS[about.type] || !(about.count > 0)) throw new FramesError("The server's description of these pictures is not understood.");
  series.set(base, about);
  return about;
}

export function imageIds(base) {
  return Array.from({ length: series.get(base).count }, (_, number) => `${SCHEME}:${base}/frames/${number}`);
}

/** From the units that windows are told in (Hounsfield units, or 0 to 1) to those of the stored pixels. */
export function stored(about, { center, width }) {
  const slope = about.slope || 1;
  return { lower: (center - width / 2 - (about.intercept || 0)) / slope, upper: (center + width / 2 - (about.intercept || 0)) / slope };
}

export function told(about, { lower, upper }) {
  const slope = about.slope || 1;
  return { center: ((lower + upper) / 2) * slope + (about.intercept || 0), width: (upper - lower) * slope };
}

/** Nothing of a patient stays in memory once the viewer is closed. */
export function forgetAll() {
  cache.purgeCache();
  series.clear();
}

function place(imageId) {
  const found = imageId.match(/^likewise:(.*)\/frames\/(\d+)$/);
  return found && series.has(found[1]) ? { about: series.get(found[1]), base: found[1], number: Number(found[2]) } : null;
}

function loadFrame(imageId) {
  const abort = new AbortController();
  return { promise: fetchFrame(imageId, abort.signal), cancelFn: () => abort.abort() };
}

async function fetchFrame(imageId, signal) {
  const { about, base, number } = place(imageId);
  const response = await fetch(`${base}/frames/${number}`, { signal, credentials: "same-origin" });
  if (!response.ok) throw await failure(response);
  const bytes = await response.arrayBuffer();
  const { rows, columns } = about;
  if (bytes.byteLength !== rows * columns * 2) throw new FramesError("A picture arrived incomplete.");
  const pixels = new ARRAYS[about.type](bytes); // little-endian, as every machine that runs a browser is
  let [low, high] = [pixels[0], pixels[0]];
  for (const value of pixels) {
    if (value < low) low = value;
    else if (value > high) high = value;
  }
  const [rowSpacing, columnSpacing] = about.spacing_mm ?? [1, 1];
  const window = stored(about, about.window);
  const voxelManager = utilities.VoxelManager.createImageVoxelManager({ width: columns, height: rows, numberOfComponents: 1, scalarData: pixels, id: imageId });
  return {
    imageId,
    minPixelValue: low,
    maxPixelValue: high,
    slope: 1,
    intercept: 0,
    windowCenter: (window.lower + window.upper) / 2,
    windowWidth: window.upper - window.lower,
    rows,
    columns,
    height: rows,
    width: columns,
    rowPixelSpacing: rowSpacing,
    columnPixelSpacing: columnSpacing,
    color: false,
    rgba: false,
    numberOfComponents: 1,
    dataType: ARRAYS[about.type].name,
    photometricInterpretation: "MONOCHROME2",
    invert: false,
    sizeInBytes: bytes.byteLength,
    getPixelData: () => voxelManager.getScalarData(),
    getCanvas: undefined,
    voxelManager,
  };
}

async function failure(response) {
  const problem = await response.json().catch(() => ({}));
  return new FramesError(problem.detail || problem.title || `The server answered ${response.status}.`);
}

/** What cornerstone asks of a DICOM header; there is none, so it is made up from what the server says. */
function describe(type, imageId) {
  const found = typeof imageId === "string" ? place(imageId) : null;
  if (!found) return undefined;
  const { about, base, number } = found;
  const [rowSpacing, columnSpacing] = about.spacing_mm ?? [1, 1];
  const signed = about.type === "int16";
  if (type === "imagePixelModule")
    return { samplesPerPixel: 1, photometricInterpretation: "MONOCHROME2", rows: about.rows, columns: about.columns, bitsAllocated: 16, bitsStored: 16, highBit: 15, pixelRepresentation: signed ? 1 : 0 };
  if (type === "imagePlaneModule")
    return {
      frameOfReferenceUID: base,
      rows: about.rows,
      columns: about.columns,
      rowCosines: [1, 0, 0],
      columnCosines: [0, 1, 0],
      imageOrientationPatient: [1, 0, 0, 0, 1, 0],
      imagePositionPatient: [0, 0, number * (about.slice_spacing_mm || 1)],
      pixelSpacing: [rowSpacing, columnSpacing],
      rowPixelSpacing: rowSpacing,
      columnPixelSpacing: columnSpacing,
      sliceThickness: about.slice_spacing_mm || 1,
    };
  if (type === "generalSeriesModule") return { modality: signed ? "CT" : "DX", seriesInstanceUID: base };
  if (type === "voiLutModule") {
    const { lower, upper } = stored(about, about.window);
    return { windowCenter: [(lower + upper) / 2], windowWidth: [upper - lower] };
  }
  if (type === "modalityLutModule") return { rescaleSlope: 1, rescaleIntercept: 0 };
  return undefined;
}
