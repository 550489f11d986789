/**
 * Direct flush beside the journal: MB/s of batches of one partition, group after group, each awaited. For one store, and for
 * three on the same disk, as a replicated test has them: there bytes are the cost, and the journal's copy is one of two.
 *
 * Twice each: until the last acknowledgement, and with the checkpoint that follows, which writes the journal's bytes a
 * second time. The second figure is what a store sustains; the first is what a burst sees.
 */
import { join } from 'node:path';
import { type Log, openStore, type Store } from '../../src/main.js';
import { encodedBatch } from './records.js';
import type { OpenScenario, Scenario, Variant } from './scenario.js';

const BATCH_BYTES = 64 * 1024;
const KIB = 1024;
const GROUPS = [256 * KIB, 1024 * KIB, 4096 * KIB];
const STORES = [1, 3];
const STORE_OPTIONS = { create: true, checkpointIntervalMs: 3_600_000, journalMaxBytes: 8 * 1024 * 1024 * KIB };

const JOURNAL = 'journal';
const DIRECT = 'direct flush';
const CHECKPOINTED = ', checkpoint included';

interface Instance {
  readonly store: Store;
  readonly log: Log;
}

export function directFlushes(): Scenario[] {
  return STORES.flatMap((stores) =>
    GROUPS.map((groupBytes) => ({
      name: `direct-${stores}x${groupBytes / KIB}k`,
      title: `${stores === 1 ? 'one store' : `${stores} stores on one disk`}, one partition, ${groupBytes / KIB} KiB at a time until durable`,
      unit: 'MB/s',
      higherIsBetter: true,
      checks: [],
      open: (folder: string) => open(folder, stores, groupBytes),
    })),
  );
}

async function open(folder: string, stores: number, groupBytes: number): Promise<OpenScenario> {
  const group = Buffer.concat(Array.from({ length: groupBytes / BATCH_BYTES }, () => encodedBatch(BATCH_BYTES)));
  const start = (kind: string, directFlushBytes: number) =>
    Promise.all(Array.from({ length: stores }, (_, i) => instance(join(folder, `${kind}-${i}`), directFlushBytes)));
  const journal = await start('journal', 0);
  // Half of a group: whatever part of it the journal's thread meets first, the rest is large enough.
  const direct = await start('direct', groupBytes / 2);
  const variant = (name: string, instances: readonly Instance[], checkpoint: boolean): Variant => ({
    name: name + (checkpoint ? CHECKPOINTED : ''),
    measure: (seconds) => throughput(instances, group, seconds, checkpoint),
  });
  return {
    variants: [
      variant(JOURNAL, journal, false),
      variant(DIRECT, direct, false),
      variant(JOURNAL, journal, true),
      variant(DIRECT, direct, true),
    ],
    notes: () => [
      `went past the journal: ${share(journal)} % of the bytes of "${JOURNAL}", ${share(direct)} % of those of "${DIRECT}"`,
    ],
    async close() {
      await Promise.all([...journal, ...direct].map(({ store }) => store.close()));
    },
  };
}

async function instance(path: string, directFlushBytes: number): Promise<Instance> {
  const store = await openStore(path, { ...STORE_OPTIONS, directFlushBytes });
  return { store, log: await store.openLog('t', 0, { replicated: true }) };
}

async function throughput(
  instances: readonly Instance[],
  group: Buffer,
  seconds: number,
  checkpoint: boolean,
): Promise<number> {
  // What the last measurement left is written before, not within this one; and then made room for.
  for (const { store, log } of instances) {
    await store.checkpoint();
    log.advanceHighWatermark(log.end);
    await log.deleteBefore(log.end);
  }
  const began = performance.now();
  const until = began + seconds * 1000;
  const bytes = await Promise.all(
    instances.map(async ({ store, log }) => {
      let sum = 0;
      while (performance.now() < until) {
        log.appendProduced(group, 0, group.length, 0);
        await durable(log);
        sum += group.length;
      }
      if (checkpoint) await store.checkpoint();
      return sum;
    }),
  );
  const total = bytes.reduce((sum, each) => sum + each, 0);
  return total / 1e6 / ((performance.now() - began) / 1000);
}

function durable(log: Log): Promise<void> {
  const end = log.end;
  return new Promise((resolve) => {
    log.onProgress = () => {
      if (log.durable >= end) resolve();
    };
  });
}

function share(instances: readonly Instance[]): string {
  const stats = instances.map(({ store }) => store.stats().journal);
  const sum = (key: 'directBytes' | 'payloadBytes') => stats.reduce((total, each) => total + each[key], 0);
  return ((100 * sum('directBytes')) / sum('payloadBytes')).toFixed(0);
}
