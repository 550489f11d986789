// A log that is compacted against a naive model: random batches in every codec, tombstones, epochs, producers, truncations
// between compactions, deletions, reopenings and kills. After each compaction the log holds exactly what the model says.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bootId, openDisk } from '../../src/disk/native-disk.js';
import type { Log } from '../../src/log/log.js';
import { Store } from '../../src/log/partition-store.js';
import { decodeBatchAsync } from '../../src/record/decode.js';
import { isControlAt, lastOffsetAt, stampBatch } from '../../src/record/record-batch.js';
import type { Record } from '../../src/record/types.js';
import { validateStoredBatch } from '../../src/record/validate-batch.js';
import { wallClock } from '../wall-clock.js';
import { asProducer, type BatchPlan, batchPlan } from '../compaction/batches.js';
import { buildBatch, plain } from '../record/records.js';
import { crashImage, temporaryDirectory } from './crash-image.js';

const MIB = 1024 * 1024;
const RETENTION_MS = 1000;

type Step =
  | { readonly do: 'append'; readonly plans: readonly BatchPlan[] }
  | { readonly do: 'truncate'; readonly back: number }
  | { readonly do: 'compact' | 'commit' | 'checkpoint' | 'reopen' | 'kill' }
  | { readonly do: 'delete'; readonly share: number }
  | { readonly do: 'wait'; readonly ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      plans: fc.array(batchPlan, { minLength: 1, maxLength: 5 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('truncate' as const), back: fc.integer({ min: 1, max: 20 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('compact' as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constantFrom('commit', 'checkpoint', 'reopen', 'kill' as const) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('delete' as const), share: fc.integer({ min: 0, max: 100 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 1500 }) }) },
);

interface ModelRecord {
  readonly record: Record;
  readonly batch: { readonly base: number; horizon?: number };
}

class Run {
  readonly #paths = [temporaryDirectory()];
  #store!: Store;
  #log!: Log;
  #now = 1_800_000_000_000;
  #epoch = 1;
  #records: ModelRecord[] = [];
  /** Epoch of every offset from the log start on, and where batches end. */
  #epochs = new Map<number, number>();
  #ends: number[] = [];
  readonly #sequences = new Map<number, number>();

  async open(): Promise<void> {
    const path = this.#paths.at(-1)!;
    const options = { create: true, journalFileBytes: MIB, journalMaxBytes: 4 * MIB, checkpointIntervalMs: 3_600_000 };
    const ground = { disk: await openDisk(path), path, bootId: bootId(), environment: wallClock(() => this.#now) };
    this.#store = await Store.open(ground, { ...options, compactionBufferBytes: 24 * 1000 });
    this.#log = await this.#store.openLog('t', 0, {
      segmentBytes: MIB,
      cleanup: 'compact',
      replicated: true,
      deleteRetentionMs: RETENTION_MS,
    });
  }

  async close(): Promise<void> {
    await this.#store.close();
  }

  async apply(given: Step): Promise<void> {
    switch (given.do) {
      case 'append':
        for (const plan of given.plans) await this.#append(plan);
        return this.#log.flush();
      case 'truncate':
        return this.#truncate(given.back);
      case 'compact':
        return this.#compact();
      case 'commit':
        await this.#log.flush();
        this.#log.advanceHighWatermark(this.#log.end);
        return;
      case 'checkpoint':
        return this.#store.checkpoint();
      case 'reopen': {
        await this.#log.flush();
        const { highWatermark } = this.#log;
        await this.#store.close();
        await this.open();
        expect(this.#log.highWatermark).toBe(highWatermark);
        return;
      }
      case 'kill': {
        await this.#log.flush();
        const image = crashImage(this.#paths.at(-1)!);
        await this.#store.close();
        this.#paths.push(image);
        await this.open();
        expect(this.#log.recovery.damaged).toEqual([]);
        return;
      }
      case 'delete': {
        const { start, highWatermark } = this.#log;
        await this.#log.deleteBefore(Math.floor(start + ((highWatermark - start) * given.share) / 100));
        return;
      }
      case 'wait':
        this.#now += given.ms;
        return;
    }
  }

  async #append(plan: BatchPlan): Promise<void> {
    if (plan.newEpoch) this.#epoch++;
    const log = this.#log;
    const base = log.end;
    if (plan.records === undefined) {
      log.appendControl(1000, Buffer.from('c'), this.#epoch);
      this.#note(base, base + 1);
      return;
    }
    const batch = await buildBatch(plan.records, plan.compression);
    if (plan.producer > 0) {
      const sequence = this.#sequences.get(plan.producer) ?? 0;
      asProducer(batch, plan.producer, 7, sequence);
      this.#sequences.set(plan.producer, sequence + plan.records.length);
    }
    stampBatch(batch, 0, base, this.#epoch);
    log.appendReplicated(batch, 0, batch.length, this.#epoch);
    const place = { base };
    for (const record of await decodeBatchAsync(Buffer.from(batch))) this.#records.push({ record, batch: place });
    this.#note(base, log.end);
  }

  #note(base: number, end: number): void {
    for (let offset = base; offset < end; offset++) this.#epochs.set(offset, this.#epoch);
    this.#ends.push(end);
  }

  #truncate(back: number): void {
    const { highWatermark, start } = this.#log;
    const cuts = [start, ...this.#ends].filter((end) => end >= highWatermark && end >= start && end < this.#log.end);
    const to = cuts.at(-back) ?? cuts[0];
    if (to === undefined) return;
    this.#log.truncate(to);
    this.#records = this.#records.filter(({ record }) => record.offset < to);
    this.#ends = this.#ends.filter((end) => end <= to);
    for (const offset of this.#epochs.keys()) if (offset >= to) this.#epochs.delete(offset);
    this.#epoch++;
  }

  async #compact(): Promise<void> {
    const log = this.#log;
    const report = await log.compact();
    expect(['complete', 'nothing-to-do']).toContain(report.end);
    expect(report.to).toBeLessThanOrEqual(log.highWatermark);
    if (report.end === 'nothing-to-do') {
      expect(log.highWatermark < log.end || log.start === log.end || this.#ends.length === 0).toBe(true);
      return;
    }
    if (log.highWatermark === log.end && log.durable === log.end) expect(report.to).toBe(log.end);
    const latest = new Map<string, number>();
    for (const { record } of this.#records) {
      if (record.key !== null && record.offset < report.to) latest.set(record.key.toString('hex'), record.offset);
    }
    this.#records = this.#records.filter(({ record, batch }) => {
      if (record.key === null || record.offset >= report.to) return true;
      if (latest.get(record.key.toString('hex')) !== record.offset) return false;
      return record.value !== null || batch.horizon === undefined || this.#now < batch.horizon;
    });
    for (const { record, batch } of this.#records) {
      // Whole batches are rewritten: those that begin below the end of what was compacted.
      if (record.value === null && batch.base < report.to) batch.horizon ??= this.#now + RETENTION_MS;
    }
  }

  async check(): Promise<void> {
    const log = this.#log;
    const records: Record[] = [];
    const epochs = new Map<number, number>();
    let next = -1;
    for (let offset = log.start; offset < log.end; ) {
      const { views, nextOffset } = log.viewsFrom(offset, 3000, 'end');
      for (const view of views) {
        for (let at = 0; at < view.length; ) {
          const size = validateStoredBatch(view, at, view.length, 4 * MIB);
          const base = Number(view.readBigInt64BE(at));
          if (next >= 0) expect(base).toBe(next);
          next = lastOffsetAt(view, at) + 1;
          for (let covered = base; covered < next; covered++) epochs.set(covered, view.readInt32BE(at + 12));
          if (!isControlAt(view, at)) records.push(...(await decodeBatchAsync(view, at, at + size)));
          at += size;
        }
      }
      expect(nextOffset).toBeGreaterThan(offset);
      offset = nextOffset;
    }
    const visible = this.#records.map(({ record }) => record).filter(({ offset }) => offset >= log.start);
    expect(plain(records.filter(({ offset }) => offset >= log.start))).toEqual(plain(visible));
    for (let offset = log.start; offset < log.end; offset++) {
      expect([offset, epochs.get(offset)]).toEqual([offset, this.#epochs.get(offset)]);
      expect(log.epochAt(offset)).toBe(epochs.get(offset));
    }
  }
}

const runs = Number(process.env['COMPACTION_RUNS'] ?? 40);

test('holds what a naive compaction leaves, whatever happens before, between and after', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 24 }), async (steps) => {
      const run = new Run();
      await run.open();
      try {
        for (const each of steps) {
          await run.apply(each);
          await run.check();
        }
      } finally {
        await run.close();
      }
    }),
    { numRuns: runs },
  );
}, 600_000);
