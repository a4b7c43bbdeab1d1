// Scripts for a page, made of the client and what is in `pages`.

import { fileURLToPath } from "node:url";

import { build } from "esbuild";
import type { Page } from "playwright-core";

/** Opens a page of the gateway with what `pages/NAME` exports, as `window.NAME`. */
export async function open(page: Page, gateway: string, name: string): Promise<void> {
  // A page without an origin may not connect to this machine. One that is not found has the gateway's.
  await page.goto(`http://${gateway}/none`);
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(`pages/${name}.ts`, import.meta.url))],
    bundle: true,
    format: "iife",
    globalName: name,
    target: "es2022",
    write: false,
  });
  await page.addScriptTag({ content: outputFiles[0]?.text ?? "" });
}
