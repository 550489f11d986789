/**
 * The twin against the native disk, byte for byte, over random sequences. TWIN_SEQUENCES says how many (npm run sim:twin:
 * 10,000 of each kind), TWIN_SEED which one to begin with.
 */
import { expect, test } from 'vitest';
import { runDiskSequence } from './disk-sequence.js';

const sequences = Number(process.env['TWIN_SEQUENCES'] ?? 150);
const firstSeed = Number(process.env['TWIN_SEED'] ?? 1);

test('the disk interface: every result, error code, byte and directory entry is the same', async () => {
  for (let seed = firstSeed; seed < firstSeed + sequences; seed++) {
    try {
      await runDiskSequence(seed);
    } catch (error) {
      expect.fail(
        `${(error as Error).message}\nreplay: TWIN_SEED=${seed} TWIN_SEQUENCES=1 npx vitest run test/sim/twin-differential.test.ts -t disk`,
      );
    }
  }
}, 3_600_000);
