// Power cuts at every place of a compaction's trace: no record that is the last of its key is lost, nothing that was removed
// comes back, and the log can be compacted again. COMPACTION_IMAGES takes more of them.
import { afterAll, expect, test } from 'vitest';
import { failureText, Tally } from './campaign.js';
import { cutCompaction } from './compaction-images.js';
import { Scratch } from './scratch.js';

const images = Number(process.env['COMPACTION_IMAGES'] ?? 100);
const firstSeed = Number(process.env['COMPACTION_SEED'] ?? 1);
/** Of one recording. */
const PER_RECORDING = 125;

const scratch = new Scratch();
afterAll(() => scratch.close());

test('a power cut during compaction loses no last record and brings nothing back', async () => {
  const tally = new Tally();
  let compactions = 0;
  for (let seed = firstSeed; tally.total < images; seed++) {
    compactions += await cutCompaction({ scratch, seed, images: PER_RECORDING }, tally);
  }
  for (const failure of tally.failures.slice(0, 5)) console.error(failureText(failure));
  expect(tally.failures.length).toBe(0);
  expect(compactions).toBeGreaterThan(0);
}, 3_600_000);
