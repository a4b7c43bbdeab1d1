// Unpacks the browser of @sparticuz/chromium beside the packages, with the libraries and the font that it needs.

import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { BROWSER } from "./browser.ts";

if (!existsSync(BROWSER)) {
  console.error("unpacking Chromium");
  const part = `${BROWSER}.part`;
  rmSync(part, { recursive: true, force: true });
  mkdirSync(part);
  process.env.TMPDIR = part;
  // Makes it unpack the libraries too, which a fresh machine does not have.
  process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs24.x";
  const { default: chromium } = await import("@sparticuz/chromium");
  await chromium.executablePath();
  const fonts = ["/usr/share/fonts", join(BROWSER, "fonts")].map((folder) => `<dir>${folder}</dir>`);
  const cache = `<cachedir>${join(BROWSER, "fonts-cache")}</cachedir>`;
  writeFileSync(join(part, "fonts/fonts.conf"), `<fontconfig>${fonts.join("")}${cache}</fontconfig>\n`);
  renameSync(part, BROWSER);
}
