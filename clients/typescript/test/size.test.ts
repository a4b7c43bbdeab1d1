import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

test("the client takes at most 25 KiB in a page, minified and gzipped", () => {
  const size = execFileSync("gzip", ["-9c", "dist/sluicegate.min.js"]).length;
  assert.ok(size <= 25 * 1024, `${size} bytes`);
});
