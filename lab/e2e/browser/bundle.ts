// Scripts for a page, made of the client and what is in `pages`.

import { fileURLToPath } from "node:url";

import { build } from "esbuild";

/** Exports of `pages/NAME`, as a script that defines NAME. */
export async function bundle(name: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(`pages/${name}.ts`, import.meta.url))],
    bundle: true,
    format: "iife",
    globalName: name,
    target: "es2022",
    write: false,
  });
  return outputFiles[0]?.text ?? "";
}
