// The proof that crash images can fail: traces in which the disk did less than the store asked for, or the store promised
// more than it had, must be found out.
import { afterAll, expect, test } from 'vitest';
import type { TraceEvent } from '../../src/disk/trace.js';
import { cutWorkload, Tally } from './campaign.js';
import { Scratch } from './scratch.js';
import { WORKLOADS } from './workloads.js';

const scratch = new Scratch();
afterAll(() => scratch.close());

type Lie = (events: readonly TraceEvent[]) => readonly TraceEvent[];

const without =
  (skips: (event: TraceEvent) => boolean): Lie =>
  (events) =>
    events.filter((event) => !event.kind.startsWith('sync') || !skips(event));

/** Acknowledgements as soon as something was submitted. */
const tooEarly: Lie = (events) => {
  return events.flatMap((event) => {
    const note = event.kind === 'note' ? (JSON.parse(event.text) as { note: string; seq: number }) : undefined;
    if (note?.note !== 'submit') return [event];
    return [event, { ...event, text: JSON.stringify({ note: 'ack', seq: note.seq }) }];
  });
};

const lies: readonly { readonly what: string; readonly workload: string; readonly lie: Lie }[] = [
  { what: 'the journal is not synced', workload: 'append', lie: without(({ path }) => path.endsWith('.wal')) },
  { what: 'a vote is promised before it is synced', workload: 'vote', lie: tooEarly },
  { what: 'appends are acknowledged at once', workload: 'append', lie: tooEarly },
  { what: 'truncations are acknowledged at once', workload: 'truncate', lie: tooEarly },
  { what: 'a checkpoint syncs no segment', workload: 'checkpoint', lie: without(({ path }) => path.endsWith('.log')) },
  {
    what: 'a checkpoint is renamed before it is synced',
    workload: 'checkpoint',
    lie: without(({ path }) => path === 'checkpoint.tmp'),
  },
  {
    what: 'a direct flush syncs no segment',
    workload: 'direct-flush',
    lie: without(({ path }) => path.endsWith('.log')),
  },
  {
    what: 'a direct flush syncs no name of a segment',
    workload: 'direct-flush',
    lie: without(({ directory, path }) => directory && path.includes('.')),
  },
  {
    what: 'new journal files have no durable name',
    workload: 'journal',
    lie: without(({ directory, path }) => directory && path === 'journal'),
  },
  {
    what: 'directories are never synced',
    workload: 'truncate',
    lie: without(({ directory }) => directory),
  },
];

test.each(lies)('found out: $what', async ({ workload, lie }) => {
  const tally = new Tally();
  const found = WORKLOADS.find(({ name }) => name === workload)!;
  // A few images of many recordings: most lies are in the first ones.
  for (let seed = 1; tally.failures.length === 0 && seed <= 40; seed++) {
    await cutWorkload(found, { scratch, seed, images: 15 }, tally, lie);
  }
  expect(tally.failures.length).toBeGreaterThan(0);
});
