// A log against a naive model: random appends, truncations, deletions, checkpoints, reopenings and crashes. After a
// crash the log must hold everything that was durable, and beyond it only a prefix of something it once held.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Log } from '../../src/log/log.js';
import { openStore, type Store } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { baseOffsetAt, batchSizeAt, epochAt, lastOffsetAt } from '../../src/record/record-batch.js';
import { hasValidCrc } from '../../src/record/validate-batch.js';
import { crashImage, powerCutImage, temporaryDirectory } from './crash-image.js';

const MIB = 1024 * 1024;

type Command =
  | { readonly do: 'append'; readonly sizes: readonly number[]; readonly newEpoch: boolean }
  | { readonly do: 'truncate'; readonly back: number }
  | { readonly do: 'commit' | 'flush' | 'checkpoint' | 'append-into-checkpoint' | 'reopen' | 'close-log' }
  | { readonly do: 'delete'; readonly share: number }
  | { readonly do: 'vote'; readonly vote: number }
  | { readonly do: 'crash'; readonly kind: 'kill' | 'power'; readonly survive: number };

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      sizes: fc.array(fc.oneof(fc.integer({ min: 1, max: 900 }), fc.integer({ min: 5_000, max: 400_000 })), {
        minLength: 1,
        maxLength: 4,
      }),
      newEpoch: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('truncate' as const), back: fc.integer({ min: 1, max: 9 }) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constantFrom('commit', 'flush', 'checkpoint', 'append-into-checkpoint', 'reopen', 'close-log' as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('delete' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('vote' as const), vote: fc.integer({ min: 1, max: 3 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('crash' as const),
      kind: fc.constantFrom('kill' as const, 'power' as const),
      survive: fc.constantFrom(0, 0.3, 0.7, 1),
    }),
  },
);

interface Batch {
  readonly base: number;
  readonly end: number;
  readonly epoch: number;
  readonly bytes: Buffer;
}

/** Batches of the log as it reads back. */
function contentOf(log: Log): Batch[] {
  const batches: Batch[] = [];
  for (let offset = log.start; offset < log.end; ) {
    const { views, nextOffset } = log.viewsFrom(offset, 300_000, 'end');
    expect(nextOffset).toBeGreaterThan(offset);
    for (const view of views) {
      for (let at = 0; at < view.length; ) {
        const size = batchSizeAt(view, at);
        expect(hasValidCrc(view, at, size)).toBe(true);
        const bytes = Buffer.from(view.subarray(at, at + size));
        batches.push({
          base: baseOffsetAt(view, at),
          end: lastOffsetAt(view, at) + 1,
          epoch: epochAt(view, at),
          bytes,
        });
        at += size;
      }
    }
    offset = nextOffset;
  }
  return batches;
}

function same(a: Batch, b: Batch): boolean {
  return a.base === b.base && a.epoch === b.epoch && a.bytes.equals(b.bytes);
}

/** True when `found` is what `version` held from some batch on, up to some batch. */
function isPartOf(found: readonly Batch[], version: readonly Batch[]): boolean {
  const first = found[0];
  if (first === undefined) return true;
  const at = version.findIndex((batch) => batch.base === first.base);
  return at >= 0 && found.every((batch, i) => version[at + i] !== undefined && same(batch, version[at + i]!));
}

class Run {
  path = temporaryDirectory();
  store!: Store;
  log!: Log;
  batches: Batch[] = [];
  /** What the log held before truncations that may not be durable yet. */
  older: Batch[][] = [];
  epoch = 0;
  generation = 0;
  readonly #flush: 'sync' | 'async' | 'none';
  readonly #random: () => number;
  #payload = 0;

  readonly #directFlushBytes: number;

  constructor(flush: 'sync' | 'async' | 'none', seed: number, directFlushBytes: number) {
    this.#flush = flush;
    this.#directFlushBytes = directFlushBytes;
    let state = seed;
    this.#random = () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
      return state / 0x8000_0000;
    };
  }

  async open(): Promise<void> {
    const options = {
      create: true,
      journalFileBytes: MIB,
      journalMaxBytes: 4 * MIB,
      checkpointIntervalMs: 3_600_000,
      directFlushBytes: this.#directFlushBytes,
      // Long, so that crashes meet direct flushes whose mark was not written yet; records that follow bring it along.
      directMarkMaxMs: 10_000,
    };
    this.store = await openStore(this.path, options);
    this.log = await this.store.openLog('t', 0, { segmentBytes: MIB, flush: this.#flush, replicated: true });
  }

  async apply(step: Command): Promise<void> {
    switch (step.do) {
      case 'append':
        return this.#append(step.sizes, step.newEpoch);
      case 'truncate':
        return this.#truncate(step.back);
      case 'commit': {
        const committed = Math.min(this.log.durable, this.log.written);
        this.log.advanceHighWatermark(committed);
        expect(this.log.highWatermark).toBeGreaterThanOrEqual(committed);
        return;
      }
      case 'flush':
        await this.log.flush();
        expect(this.log.durable).toBe(this.log.end);
        this.older = [];
        return;
      case 'checkpoint':
        await this.store.checkpoint();
        this.older = [];
        return;
      case 'append-into-checkpoint': {
        // Captured between two appends of one group commit.
        this.#append([100], false);
        const checkpoint = this.store.checkpoint();
        for (let i = 0; i < 4; i++) {
          this.#append([100, 200], false);
          await Promise.resolve();
        }
        await checkpoint;
        this.older = [];
        return;
      }
      case 'delete': {
        const { start, highWatermark } = this.log;
        await this.log.deleteBefore(Math.floor(start + (highWatermark - start) * step.share));
        this.batches = this.batches.filter((batch) => batch.end > this.log.start);
        return;
      }
      case 'vote': {
        const state = { term: this.log.hardState.term + 1, vote: step.vote };
        await new Promise<void>((resolve) => this.log.saveHardState(state, resolve));
        return;
      }
      case 'reopen':
        await this.store.close();
        await this.#reopened(true);
        return;
      case 'close-log': {
        const { hardState } = this.log;
        await this.log.close();
        this.log = await this.store.openLog('t', 0, { segmentBytes: MIB, flush: this.#flush, replicated: true });
        expect(this.log.hardState).toEqual(hardState);
        this.older = [];
        return;
      }
      case 'crash': {
        const image =
          step.kind === 'kill'
            ? crashImage(this.path)
            : powerCutImage(this.path, () => this.#random() < step.survive, this.log.durable);
        const before = {
          log: this.log,
          durable: this.log.durable,
          hardState: this.log.hardState,
          start: this.log.start,
        };
        await this.store.close();
        this.path = image;
        await this.#crashed(before, step.kind);
        return;
      }
    }
  }

  check(): void {
    const { log } = this;
    expect(log.end).toBe(this.batches.at(-1)?.end ?? log.end);
    expect(log.durable).toBeLessThanOrEqual(log.written);
    expect(log.written).toBeLessThanOrEqual(log.end);
    for (const batch of this.batches) expect(log.epochAt(batch.base)).toBe(batch.epoch);
    expect(log.lastEpoch).toBe(this.batches.at(-1)?.epoch ?? log.lastEpoch);
    const found = contentOf(log);
    expect(found.length).toBe(this.batches.length);
    expect(isPartOf(found, this.batches)).toBe(true);
    const middle = this.batches[this.batches.length >> 1];
    if (middle !== undefined) {
      const { end, bytes } = log.span(middle.base, 1);
      expect([end, bytes]).toEqual([middle.end, middle.bytes.length]);
    }
  }

  #append(sizes: readonly number[], newEpoch: boolean): void {
    if (newEpoch) this.epoch++;
    const run: Buffer[] = [];
    for (const size of sizes) {
      const builder = new BatchBuilder();
      const value = Buffer.alloc(size, `payload ${this.#payload++} `);
      builder.append(1_700_000_000_000 + this.#payload, null, value);
      if (size % 2 === 0) builder.append(1_700_000_000_000, null, 'second');
      run.push(builder.finish());
    }
    const bytes = Buffer.concat(run);
    const { baseOffset } = this.log.appendProduced(bytes, 0, bytes.length, this.epoch);
    expect(baseOffset).toBe(this.batches.at(-1)?.end ?? this.log.start);
    for (let at = 0; at < bytes.length; at += batchSizeAt(bytes, at)) {
      const batch = Buffer.from(bytes.subarray(at, at + batchSizeAt(bytes, at)));
      this.batches.push({
        base: baseOffsetAt(batch, 0),
        end: lastOffsetAt(batch, 0) + 1,
        epoch: this.epoch,
        bytes: batch,
      });
    }
  }

  #truncate(back: number): void {
    const at = Math.max(0, this.batches.length - back);
    const batch = this.batches[at];
    if (batch === undefined || batch.base < Math.max(this.log.highWatermark, this.log.start)) return;
    const { durable, generation } = this.log;
    this.older.push([...this.batches]);
    // Anywhere in a batch removes all of it.
    this.log.truncate(batch.end - 1);
    this.batches.length = at;
    expect(this.log.end).toBe(batch.base);
    expect(this.log.generation).toBe(generation + 1);
    expect(this.log.durable).toBe(Math.min(durable, batch.base));
    this.epoch++;
  }

  async #crashed(before: { durable: number; hardState: Log['hardState']; start: number }, kind: string): Promise<void> {
    await this.open();
    const { log } = this;
    expect(log.recovery.clean).toBe(false);
    expect(log.recovery.damaged).toEqual([]);
    expect(log.start).toBeGreaterThanOrEqual(before.start);
    expect(log.end).toBeGreaterThanOrEqual(before.durable);
    expect(log.durable).toBe(log.end);
    expect(log.hardState.term).toBeGreaterThanOrEqual(before.hardState.term);
    const found = contentOf(log);
    const versions = [this.batches, ...this.older];
    expect(versions.some((version) => isPartOf(found, version))).toBe(true);
    const durable = this.batches.filter((batch) => batch.end <= before.durable && batch.end > log.start);
    expect(isPartOf(durable, found)).toBe(true);
    // Nothing is lost when the page cache survives, unless a truncation was under way.
    if (kind === 'kill' && this.older.length === 0) expect(found.length).toBe(this.batches.length);
    this.batches = found;
    this.older = [];
  }

  async #reopened(clean: boolean): Promise<void> {
    const { end, generation, hardState, start } = this.log;
    await this.open();
    expect(this.log.recovery.clean).toBe(clean);
    expect(this.log.recovery.rebuiltIndexes).toBe(0);
    expect([this.log.start, this.log.end, this.log.generation]).toEqual([start, end, generation]);
    expect(this.log.hardState).toEqual(hardState);
    this.older = [];
  }
}

test.each([
  ['sync', 0],
  ['async', 0],
  ['none', 0],
  ['sync', 1],
  ['sync', 50_000],
  ['none', 1000],
] as const)(
  'a log with flush %s, directFlushBytes %i, keeps what was durable and never invents anything',
  async (flush, directFlushBytes) => {
    await fc.assert(
      fc.asyncProperty(fc.array(command, { minLength: 3, maxLength: 25 }), fc.nat(), async (commands, seed) => {
        const run = new Run(flush, seed, directFlushBytes);
        await run.open();
        try {
          for (const step of commands) {
            await run.apply(step);
            run.check();
          }
        } finally {
          await run.store.close();
        }
      }),
      { numRuns: Number(process.env.VARVE_RUNS ?? 20) },
    );
  },
  600_000,
);
