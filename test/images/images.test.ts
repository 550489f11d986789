// Crash images: states that a power cut could leave of a store, taken from the trace of its writes and syncs, opened and
// checked. `npm run images` takes at least 20,000; a run of all tests a bounded number.
import { afterAll, expect, test } from 'vitest';
import { cutRecovery, cutRestart, cutWorkload, failureText, Tally, tallyTable } from './campaign.js';
import type { ImageKind } from './image-kinds.js';
import { Scratch } from './scratch.js';
import { WORKLOADS } from './workloads.js';

/** Images of each operation. */
const images = Number(process.env['IMAGES'] ?? 110);
const seed = Number(process.env['IMAGES_SEED'] ?? 1);
const only = process.env['IMAGES_OPERATION'];
const kinds = process.env['IMAGES_KIND'] ? ([process.env['IMAGES_KIND']] as ImageKind[]) : undefined;
/** Of one recording; many of one would be the same. */
const PER_RECORDING = 150;
const MINUTES = 60;

const scratch = new Scratch();
const tally = new Tally();
const began = performance.now();

afterAll(() => {
  scratch.close();
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  console.log(`${tallyTable(tally)}\n${seconds} s`);
});

const operations = [
  ...WORKLOADS.map((workload) => ({ operation: workload.name, workloads: [workload], cut: cutWorkload })),
  { operation: 'recovery', workloads: WORKLOADS, cut: cutRecovery },
  { operation: 'restart', workloads: WORKLOADS, cut: cutRestart },
];

test.each(operations.filter(({ operation }) => only === undefined || only.split(':')[0] === operation))(
  'nothing acknowledged is lost and nothing invented: a power cut during $operation',
  async ({ operation, workloads, cut }) => {
    const chosen = workloads.filter(({ name }) => only === undefined || (only.split(':')[1] ?? name) === name);
    const replays = only !== undefined;
    // Recordings without a new image end it too.
    for (let round = 0, idle = 0; tally.of(operation) < images && idle < 20; round++) {
      const before = tally.of(operation);
      const workload = chosen[round % chosen.length]!;
      const left = images - before;
      const share = workloads.length > 1 ? Math.ceil(images / workloads.length) : left;
      const options = { scratch, seed: replays ? seed : seed + round, images: Math.min(share, PER_RECORDING), kinds };
      await cut(workload, options, tally);
      idle = tally.of(operation) === before ? idle + 1 : 0;
    }
    const failures = tally.failures.filter((failure) => failure.operation.split(':')[0] === operation);
    for (const failure of failures.slice(0, 5)) console.error(failureText(failure));
    expect(failures.length).toBe(0);
    expect(tally.of(operation)).toBeGreaterThan(0);
  },
  MINUTES * 60_000,
);
