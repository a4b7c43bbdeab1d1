import { defineConfig } from "vitest/config";

export default defineConfig({
  cacheDir: process.env.TMPDIR,
  test: {
    // Offsets differ at their ends.
    chaiConfig: { truncateThreshold: 0 },
    include: ["conformance.test.ts"],
    // Some cases wait: for long polls, and for events that do not come.
    sequence: { concurrent: true },
    maxConcurrency: 4,
    testTimeout: 30_000,
  },
});
