import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

for (const [name, file, most] of [
  ["the client", "sluicegate", 23.5],
  ["the client with tables", "sluicegate-tables", 28],
  ["the client with outboxes", "sluicegate-outbox", 28.5],
] as const) {
  test(`${name} takes at most ${most} KiB in a page, minified and gzipped`, () => {
    const size = execFileSync("gzip", ["-9nc", `dist/${file}.min.js`]).length;
    assert.ok(size <= most * 1024, `${size} bytes`);
  });
}
