/**
 * The twin against the native disk, byte for byte, over random sequences. TWIN_SEQUENCES says how many of the disk interface
 * (npm run sim:twin: 10,000), and a tenth as many of a store over it; TWIN_SEED which one to begin with.
 */
import { expect, test } from 'vitest';
import { runDiskSequence } from './disk-sequence.js';
import { runStoreSequence } from './store-sequence.js';

const sequences = Number(process.env['TWIN_SEQUENCES'] ?? 150);
const firstSeed = Number(process.env['TWIN_SEED'] ?? 1);

/** @returns sums of what the sequences came through */
async function runAll<Coverage extends object>(
  kind: string,
  count: number,
  run: (seed: number) => Promise<Coverage>,
): Promise<Record<string, number>> {
  const sums: Record<string, number> = {};
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    try {
      for (const [what, times] of Object.entries(await run(seed))) sums[what] = (sums[what] ?? 0) + times;
    } catch (error) {
      const replay = `TWIN_SEED=${seed} TWIN_SEQUENCES=1 npx vitest run test/sim/twin-differential.test.ts -t ${kind}`;
      expect.fail(`${(error as Error).message}\nreplay: ${replay}`);
    }
  }
  return sums;
}

/** A comparison of nothing passes, too. A few sequences that are replayed need not have everything. */
function expectAll(sums: Record<string, number>): void {
  if (sequences < 100) return;
  for (const [what, times] of Object.entries(sums)) expect(times, what).toBeGreaterThan(0);
}

test('the disk interface: every result, error code, byte and directory entry is the same', async () => {
  expectAll(await runAll('disk', sequences, runDiskSequence));
}, 3_600_000);

test('a store over each: every result, cursor, recovery report and byte is the same', async () => {
  expectAll(await runAll('store', Math.ceil(sequences / 10), runStoreSequence));
}, 3_600_000);
