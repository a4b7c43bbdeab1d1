import { defineConfig } from "vitest/config";

export default defineConfig({
  cacheDir: process.env.TMPDIR,
  test: {
    include: ["conformance.test.ts"],
    // Long polls that get nothing take 20 s each, while the other cases run.
    sequence: { concurrent: true },
    maxConcurrency: 4,
    testTimeout: 40_000,
  },
});
