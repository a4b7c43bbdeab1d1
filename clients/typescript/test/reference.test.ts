import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

test("the reference page is up to date", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "reference-"));
  t.after(() => rmSync(folder, { recursive: true }));
  execFileSync("npx", ["typedoc", "--out", folder], { stdio: ["ignore", "ignore", "inherit"] });
  const [expected, actual] = [folder, "../../docs/reference"].map((at) =>
    readFileSync(join(at, "browser-client.md"), "utf8"),
  );
  assert.equal(actual, expected, "`npm run reference` generates it");
});
