// Producer state over power cuts: whatever of a log survives, its producers get the answers that the surviving batches ask
// for, though snapshots and indexes were being written when the power went.
import { afterAll, expect, test } from 'vitest';
import { failureText, Tally } from './campaign.js';
import { Scratch } from './scratch.js';
import { cutTransactions } from './transaction-images.js';

const IMAGES = Number(process.env['PRODUCER_IMAGES'] ?? 120);
/** Of one recording. */
const PER_RECORDING = 60;

const scratch = new Scratch();
afterAll(() => scratch.close());

test('a power cut leaves producers what the log holds of them', async () => {
  const tally = new Tally();
  let withProducers = 0;
  for (let seed = 1; tally.total < IMAGES; seed++) {
    withProducers += await cutTransactions({ scratch, seed, images: PER_RECORDING }, tally);
  }
  for (const failure of tally.failures.slice(0, 5)) console.error(failureText(failure));
  expect(tally.failures.length).toBe(0);
  expect(withProducers).toBeGreaterThan(tally.total / 2);
}, 600_000);
