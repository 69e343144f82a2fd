// Writes LICENCES.txt beside the bundle: the licence text of each package that is really in it.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

export function licences() {
  return {
    name: "likewise-licences",
    generateBundle(_options, bundle) {
      const folders = new Set();
      for (const chunk of Object.values(bundle)) {
        for (const [id, module] of Object.entries(chunk.modules ?? {})) {
          const found = id.replaceAll("\\", "/").match(/^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//);
          if (found && module.renderedLength > 0) folders.add(found[1]);
        }
      }
      const entries = [...folders].sort().map(entry);
      this.emitFile({ type: "asset", fileName: "LICENCES.txt", source: entries.join(`\n${"=".repeat(80)}\n\n`) });
    },
  };
}

function entry(folder) {
  const { name, version, license, author } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const by = typeof author === "string" ? author : author?.name;
  const file = readdirSync(folder).find((one) => /^(licen[cs]e|copying)/i.test(one));
  const text = file && existsSync(join(folder, file)) ? readFileSync(join(folder, file), "utf8").trim() : `Licence: ${license}${by ? `, by ${by}` : ""}`;
  return `${name} ${version} (${license})\n\n${text}\n`;
}
