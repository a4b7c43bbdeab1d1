// The browser of the tests: Chromium without a window.

import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { type Browser, chromium, type Page } from "playwright-core";

/** The folder with the browser, once `install.ts` has made it. */
export const BROWSER = fileURLToPath(new URL("../../../node_modules/.chromium", import.meta.url));

export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: join(BROWSER, "chromium"),
    // Inside a container it cannot make a sandbox of its own. It opens the tests' pages only.
    args: ["--no-sandbox"],
    // Without a language, it has one that no formatter knows.
    env: { LANG: "en_US.UTF-8", LD_LIBRARY_PATH: join(BROWSER, "al2023/lib"), FONTCONFIG_PATH: join(BROWSER, "fonts") },
  });
}

/**
 * Opens a page of the gateway. A page without an origin may not connect to this machine; one that is not found has the
 * gateway's.
 */
export async function emptyPage(browser: Browser, gateway: string): Promise<Page> {
  const page = await browser.newPage();
  await page.goto(`http://${gateway}/none`);
  return page;
}
