// In place of xmlbuilder2: vtk.js's own files of surfaces, which are not read here.
export const create = () => undefined;
