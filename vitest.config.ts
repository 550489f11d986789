import { defineConfig } from 'vitest/config';

// Deadlines are generous on purpose: no test asserts a duration, and the machines that run them are noisy.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
