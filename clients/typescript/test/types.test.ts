import { execFileSync } from "node:child_process";
import { test } from "node:test";

test("the published types are complete", () => {
  const options = ["--noEmit", "--ignoreConfig", "--strict", "--target", "es2022", "--module", "nodenext"];
  execFileSync("npx", ["tsc", ...options, "dist/index.d.ts"], { stdio: "inherit" });
});
