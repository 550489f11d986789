/**
 * One group commit over 512 partitions, 4 KiB or 128 bytes pending in each: how long until all of it is durable, beside a
 * bare gathered write + fdatasync of the same bytes into written blocks, and beside one fdatasync per partition.
 *
 * The pending bytes are appended under flush 'none', so that nothing is synced before the commit is asked for; the time
 * is that of `flush()`. Beside it stands the time with the 512 appends in it. Each commit must be one fdatasync by the
 * journal's own counter; `strace` (see strace-check.ts) confirms the counter.
 */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { openStore, type Store } from '../../src/main.js';
import { RingFile } from '../ring-file.js';
import { median } from '../statistics.js';
import { encodedBatch } from './records.js';
import type { OpenScenario, Scenario, Variant } from './scenario.js';

const PARTITIONS = 512;
const COMMITS = 9;
const FILE_BYTES = 64 * 1024 * 1024;

interface Shape {
  readonly name: string;
  readonly title: string;
  readonly pendingBytes: number;
  /** What the bare write writes at once. */
  readonly bareBytes: number;
}

const SHAPES: readonly Shape[] = [
  { name: 'commit-4k', title: '4 KiB', pendingBytes: 4096, bareBytes: 2 * 1024 * 1024 },
  { name: 'commit-128', title: '128 B', pendingBytes: 128, bareBytes: 64 * 1024 },
];

const COMMIT = 'varve, flush of 512 partitions';
const WITH_APPENDS = 'varve, 512 appends and the flush';
const BARE = 'bare write + fdatasync';
const ONE_BY_ONE = '512 × (write + fdatasync)';

export function groupCommits(): Scenario[] {
  return SHAPES.map((shape) => ({
    name: shape.name,
    title: `one group commit over 512 partitions, ${shape.title} pending in each`,
    unit: 'ms',
    higherIsBetter: false,
    checks: [
      {
        says: `commit ÷ bare write + fdatasync of ${shape.bareBytes / 1024} KiB`,
        value: COMMIT,
        references: [BARE],
        atMost: 1.5,
      },
      { says: 'commit ÷ 512 single fdatasyncs', value: COMMIT, references: [ONE_BY_ONE], atMost: 1 / 20 },
    ],
    open: (folder) => open(folder, shape),
  }));
}

async function open(folder: string, shape: Shape): Promise<OpenScenario> {
  const store = await openStore(join(folder, 'store'), { create: true });
  const partitions = Array.from({ length: PARTITIONS }, (_, partition) => partition);
  const logs = await Promise.all(partitions.map((partition) => store.openLog('many', partition, { flush: 'none' })));
  const batch = encodedBatch(shape.pendingBytes);
  const file = new RingFile(join(folder, 'written'), FILE_BYTES);
  const piece = Buffer.alloc(shape.bareBytes, 'varve');
  const files = new ManyFiles(folder);
  let commits = 0;
  let syncs = 0;

  const commit = async (withAppends: boolean): Promise<number> => {
    const began = performance.now();
    for (const log of logs) log.appendProduced(batch, 0, batch.length, 0);
    const appended = performance.now();
    const syncsBefore = store.stats().journal.syncs;
    await logs[0]!.flush();
    const ended = performance.now();
    commits++;
    syncs += store.stats().journal.syncs - syncsBefore;
    return ended - (withAppends ? began : appended);
  };
  const variants: Variant[] = [
    { name: BARE, measure: async () => medianOf(() => file.commitSync([piece], piece.length)) },
    { name: COMMIT, measure: () => quiet(store, () => commit(false)) },
    { name: WITH_APPENDS, measure: () => quiet(store, () => commit(true)) },
    { name: ONE_BY_ONE, measure: async () => elapsed(() => files.syncEach(batch)) },
  ];
  return {
    variants,
    notes: () => [`${commits} commits took ${syncs} fdatasyncs by the journal's counter`],
    async close() {
      file.close();
      files.close();
      await store.close();
    },
  };
}

/** Median of some commits, none of which has a checkpoint beside it. */
async function quiet(store: Store, commit: () => Promise<number>): Promise<number> {
  await store.checkpoint();
  const times: number[] = [];
  for (let i = 0; i < COMMITS; i++) times.push(await commit());
  return median(times);
}

function medianOf(work: () => void): number {
  return median(Array.from({ length: COMMITS }, () => elapsed(work)));
}

function elapsed(work: () => void): number {
  const began = performance.now();
  work();
  return performance.now() - began;
}

/** One file per partition, as a broker without a shared journal has them. */
class ManyFiles {
  readonly #fds: number[];

  constructor(folder: string) {
    this.#fds = Array.from({ length: PARTITIONS }, (_, i) => openSync(join(folder, `single-${i}`), 'wx'));
  }

  syncEach(batch: Buffer): void {
    for (const fd of this.#fds) {
      writeSync(fd, batch);
      fdatasyncSync(fd);
    }
  }

  close(): void {
    for (const fd of this.#fds) closeSync(fd);
  }
}
