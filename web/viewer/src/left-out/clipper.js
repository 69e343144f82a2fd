// In place of clipper2-ts: outlines of segmentations, which are not drawn here.
export class Clipper {}
export class PolyTreeD {}
export const ClipType = {};
export const FillRule = {};
