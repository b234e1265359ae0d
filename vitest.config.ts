import { defineConfig } from 'vitest/config';
import { SlowFirst } from './test/setup/slow-first.ts';

const lines = (percent: number) => ({ lines: percent, statements: percent });

export default defineConfig({
  test: {
    pool: 'forks',
    // Two files at a time: more would measure the machine, not the code.
    maxWorkers: 2,
    // Of the tests of one file that say they may run beside each other.
    maxConcurrency: 4,
    sequence: { sequencer: SlowFirst },
    teardownTimeout: 30_000,
    projects: [
      { extends: true, test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 20_000 } },
      {
        extends: true,
        test: {
          name: 'real',
          include: ['test/{activities,api,workflows,faults,stack}/**/*.test.ts'],
          globalSetup: ['test/setup/global.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      {
        // Campaigns that take minutes: npm run test:all.
        extends: true,
        test: {
          name: 'long',
          include: ['test/long/**/*.test.ts'],
          globalSetup: ['test/setup/global.ts'],
          testTimeout: 30 * 60_000,
          hookTimeout: 10 * 60_000,
        },
      },
    ],
    coverage: {
      provider: 'v8',
      include: ['domain/**/*.ts', 'db/**/*.ts', 'api/**/*.ts', 'activities/**/*.ts'],
      // Generated types, and entries that run in processes of their own, which the coverage cannot see.
      exclude: ['db/schema.ts', 'api/server.ts'],
      reporter: ['text-summary', 'html'],
      thresholds: {
        'domain/**': lines(95),
        'db/**': lines(85),
        'api/**': lines(85),
        'activities/**': lines(85),
      },
    },
  },
});
