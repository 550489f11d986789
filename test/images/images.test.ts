// Crash images: states that a power cut could leave of a store, taken from the trace of its writes and syncs, opened and
// checked. `npm run images` takes at least 20,000; a run of all tests a bounded number.
import { afterAll, expect, test } from 'vitest';
import {
  type CampaignOptions,
  cutRecovery,
  cutRestart,
  cutWorkload,
  failureText,
  Tally,
  tallyTable,
} from './campaign.js';
import { cutCompaction } from './compaction-images.js';
import type { ImageKind } from './image-kinds.js';
import { Scratch } from './scratch.js';
import { cutTransactions } from './transaction-images.js';
import { WORKLOADS, type Workload } from './workloads.js';

/** Images of each operation. */
const images = Number(process.env['IMAGES'] ?? 103);
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

type Cut = (workload: Workload | undefined, options: CampaignOptions, tally: Tally) => Promise<unknown>;

interface Operation {
  readonly operation: string;
  readonly workloads: readonly (Workload | undefined)[];
  readonly cut: Cut;
}

const cutBy =
  (cut: (workload: Workload, options: CampaignOptions, tally: Tally) => Promise<void>): Cut =>
  (workload, options, into) =>
    cut(workload!, options, into);

/** With workloads and judges of their own; compaction.test.ts and producers.test.ts take a few. */
const special: readonly Operation[] = [
  { operation: 'compaction', workloads: [undefined], cut: (_, options, into) => cutCompaction(options, into) },
  { operation: 'transactions', workloads: [undefined], cut: (_, options, into) => cutTransactions(options, into) },
];

const operations: readonly Operation[] = [
  ...WORKLOADS.map((workload) => ({ operation: workload.name, workloads: [workload], cut: cutBy(cutWorkload) })),
  { operation: 'recovery', workloads: WORKLOADS, cut: cutBy(cutRecovery) },
  { operation: 'restart', workloads: WORKLOADS, cut: cutBy(cutRestart) },
  ...(process.env['IMAGES'] === undefined && only === undefined ? [] : special),
];

test.each(operations.filter(({ operation }) => only === undefined || only.split(':')[0] === operation))(
  'nothing acknowledged is lost and nothing invented: a power cut during $operation',
  async ({ operation, workloads, cut }) => {
    const chosen = workloads.filter((workload) => {
      return only === undefined || (only.split(':')[1] ?? workload?.name) === workload?.name;
    });
    const replays = only !== undefined;
    // Recordings without a new image end it too.
    for (let round = 0, idle = 0; tally.of(operation) < images && idle < 20; round++) {
      const before = tally.of(operation);
      const workload = chosen[round % chosen.length];
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
