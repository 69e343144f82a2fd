// In place of vtk.js's WebGPU renderer: WebGL draws, or cornerstone's own CPU code.
export default {};
