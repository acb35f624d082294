// Three rings of tests. `npm test -- name` filters by file name; `-- -t words` by test name.
// Forks, not threads: a native library that fails must end one test file and not the run.
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

const MINUTE_MS = 60_000;

export default defineConfig({
  test: {
    pool: 'forks',
    // As many as there are processors; by default one of them is left out.
    maxWorkers: availableParallelism(),
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['{src,bench,tools}/**/*.test.ts', 'src/**/*.fuzz.ts'],
          testTimeout: MINUTE_MS / 2,
          // Some compile what they run.
          hookTimeout: MINUTE_MS / 2,
        },
      },
      {
        // Real processes, kills and full disks, with time to spare. Each test has racks, ports and
        // network namespaces of its own, so files run beside each other.
        extends: true,
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 3 * MINUTE_MS,
          hookTimeout: 2 * MINUTE_MS,
        },
      },
      {
        // Foreign clients against our doors.
        extends: true,
        test: {
          name: 'conformance',
          include: ['test/conformance/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 3 * MINUTE_MS,
          hookTimeout: 2 * MINUTE_MS,
        },
      },
    ],
  },
});
