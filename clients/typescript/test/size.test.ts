import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import { build } from "esbuild";

test("the client takes at most 25 KiB in a page, minified and gzipped", async () => {
  const { outputFiles } = await build({
    entryPoints: ["src/index.ts"],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
  });
  const size = execFileSync("gzip", ["-9"], { input: outputFiles[0]!.contents }).length;
  assert.ok(size <= 25 * 1024, `${size} bytes`);
});
