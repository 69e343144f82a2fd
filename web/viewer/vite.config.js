import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { licences } from "./licences.js";

const leftOut = (file) => fileURLToPath(new URL(`src/left-out/${file}`, import.meta.url));

// One ES module and the licences of what is in it. Nothing is fetched from elsewhere: no codecs, no DICOM parser, no workers.
export default defineConfig({
  plugins: [licences()],
  resolve: {
    alias: [
      { find: /^dcmjs$/, replacement: leftOut("dcmjs.js") },
      { find: /^clipper2-ts$/, replacement: leftOut("clipper.js") },
      { find: /^\.\/compiledDisplaySetRules\.js$/, replacement: leftOut("display_sets.js") },
      { find: /^xmlbuilder2$/, replacement: leftOut("xmlbuilder.js") },
      { find: /^js-yaml$/, replacement: leftOut("yaml.js") },
      { find: /^\.\.\/WebGPU\/.*$/, replacement: leftOut("webgpu.js") },
    ],
  },
  build: {
    outDir: "../static/viewer",
    emptyOutDir: true,
    target: "es2022",
    sourcemap: false,
    lib: { entry: "src/viewer.js", formats: ["es"], fileName: () => "viewer.js" },
    rollupOptions: { output: { codeSplitting: false } },
  },
});
