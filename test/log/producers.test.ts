// Producers and transactions of a real log against the plain model: random batches, duplicates, gaps, epochs, markers,
// rolls, truncations, deletions, checkpoints, reopenings and crashes.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { VarveError } from '../../src/errors.js';
import type { Log } from '../../src/log/log.js';
import { openStore, type Store } from '../../src/log/store.js';
import { batchSizeAt, isControlAt } from '../../src/record/record-batch.js';
import { crashImage, powerCutImage, temporaryDirectory } from './crash-image.js';
import { expectAnswers, expectCommitted } from './producer-answers.js';
import { type Produced, ProducerModel, producedBatch } from './producer-model.js';

const MIB = 1024 * 1024;
const producer = fc.integer({ min: 0, max: 3 });

const command = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constant('produce' as const),
      producer,
      what: fc.constantFrom('next', 'next', 'next', 'gap', 'again', 'older-epoch', 'new-epoch' as const),
      back: fc.integer({ min: 1, max: 7 }),
      count: fc.integer({ min: 1, max: 4 }),
      transactional: fc.boolean(),
      // A third of a segment: rolls come often.
      bytes: fc.constantFrom(1, 10, 350_000),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('mark' as const),
      producer,
      newEpoch: fc.boolean(),
      result: fc.constantFrom('commit' as const, 'abort' as const),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom('commit' as const, 'truncate' as const), back: fc.nat({ max: 6 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constantFrom('checkpoint', 'reopen', 'close-log', 'read' as const) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('delete' as const), back: fc.nat({ max: 8 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('crash' as const), kind: fc.constantFrom('kill', 'power') }) },
);
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

class Run {
  path = temporaryDirectory();
  store!: Store;
  log!: Log;
  model = new ProducerModel();

  async open(): Promise<void> {
    const options = { create: true, journalFileBytes: MIB, journalMaxBytes: 16 * MIB, checkpointIntervalMs: 3_600_000 };
    this.store = await openStore(this.path, options);
    this.log = await this.#openLog();
  }

  async apply(step: Command): Promise<void> {
    const { log, model } = this;
    switch (step.do) {
      case 'produce':
        return this.#produce(this.#batchFor(step));
      case 'mark': {
        const epoch = Math.max(0, model.epochOf(step.producer)) + (step.newEpoch ? 1 : 0);
        const { baseOffset } = log.appendMarker(step.producer, epoch, step.result, 0);
        model.mark(baseOffset, step.producer, epoch, step.result, 0);
        return;
      }
      case 'commit':
        log.advanceHighWatermark(model.items.at(-1 - step.back)?.end ?? 0);
        return;
      case 'truncate': {
        const cut = model.items.filter((item) => item.base >= log.highWatermark).at(-1 - step.back)?.base;
        if (cut === undefined) return;
        log.truncate(cut);
        model.truncate(cut);
        return;
      }
      case 'checkpoint':
        return this.store.checkpoint();
      case 'close-log':
        await log.close();
        this.log = await this.#openLog();
        return;
      case 'reopen':
        await this.store.close();
        return this.open();
      case 'read':
        return this.#read();
      case 'delete': {
        const offset = model.items.at(-1 - step.back)?.base ?? 0;
        await log.deleteBefore(Math.min(offset, log.highWatermark));
        return;
      }
      case 'crash': {
        await log.flush();
        const image = step.kind === 'kill' ? crashImage(this.path) : powerCutImage(this.path, () => false);
        await this.store.close();
        this.path = image;
        return this.open();
      }
    }
  }

  #batchFor(step: Extract<Command, { do: 'produce' }>): Produced {
    const { model } = this;
    const { producer: producerId, count, transactional, bytes } = step;
    const epoch = Math.max(0, model.epochOf(producerId));
    const next = { producerId, epoch, sequence: model.nextSequence(producerId), count, transactional, bytes };
    const old = model.batchesOf(producerId).at(-step.back);
    if (step.what === 'gap') return { ...next, sequence: next.sequence + step.back };
    if (step.what === 'older-epoch') return { ...next, epoch: Math.max(0, epoch - 1) };
    if (step.what === 'new-epoch') return { ...next, epoch: epoch + 1, sequence: 0 };
    return step.what === 'again' && old !== undefined ? old : next;
  }

  #produce(batch: Produced): void {
    const { log, model } = this;
    const expected = model.verdict(batch);
    const bytes = producedBatch(batch);
    const before = log.end;
    try {
      const { baseOffset, lastOffset, duplicate } = log.appendProduced(
        bytes,
        0,
        bytes.length,
        Math.max(0, log.lastEpoch),
      );
      if (duplicate) expect([baseOffset, lastOffset]).toEqual(expected);
      else expect([baseOffset, expected]).toEqual([before, 'new']);
      if (!duplicate) model.append(baseOffset, batch);
      else expect(log.end).toBe(before);
    } catch (error) {
      expect((error as VarveError).code).toBe(expected);
      expect(log.end).toBe(before);
    }
  }

  /** From every batch on, in small steps: what was aborted, and nothing else, is left out. */
  async #read(): Promise<void> {
    const { log, model } = this;
    const stable = log.lastStableOffset;
    await expectCommitted(log, model);
    for (const { base } of [...model.items, { base: log.start }]) {
      if (base < log.start || base > log.end) continue;
      const seen: number[] = [];
      let offset = base;
      for (;;) {
        const read = await log.read(offset, { maxBytes: 300, isolation: 'read_committed' });
        if (read.nextOffset === offset) break;
        seen.push(...read.records.map((record) => record.offset));
        offset = read.nextOffset;
      }
      expect(offset).toBe(Math.max(base, stable));
      expect(seen).toEqual(model.committedOffsets(base, stable));
      const { abortedTransactions } = await log.readViews(base, { maxBytes: 16 * MIB, isolation: 'read_committed' });
      const expected = model
        .aborted()
        .filter(({ first, marker }) => base < stable && first < stable && marker! >= base)
        .map(({ producerId, first }) => ({ producerId, firstOffset: first }));
      expect(abortedTransactions).toEqual(expected);
    }
  }

  #openLog(): Promise<Log> {
    return this.store.openLog('t', 0, { segmentBytes: MIB, replicated: true });
  }
}

test('whatever happens to a log, its producers get the answers that its batches ask for', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 5, maxLength: 60, size: 'max' }), async (commands) => {
      const run = new Run();
      await run.open();
      try {
        for (const step of [...commands, { do: 'read' as const }]) {
          await run.apply(step);
          expectAnswers(run.log, run.model);
        }
      } finally {
        await run.store.close();
      }
    }),
    { numRuns: Number(process.env.VARVE_RUNS ?? 40) },
  );
}, 600_000);

test('control batches of transactions are never handed out as records', async () => {
  const run = new Run();
  await run.open();
  const batch = producedBatch({ producerId: 1, epoch: 0, sequence: 0, count: 2, transactional: true });
  run.log.appendProduced(batch, 0, batch.length, 0);
  run.log.appendMarker(1, 0, 'commit', 3);
  run.log.advanceHighWatermark(3);
  const { records, nextOffset } = await run.log.read(0, { isolation: 'read_committed' });
  expect([records.map((record) => record.offset), nextOffset]).toEqual([[0, 1], 3]);
  const { views } = await run.log.readViews(2);
  expect(isControlAt(views[0]!, 0)).toBe(true);
  expect(batchSizeAt(views[0]!, 0)).toBe(views[0]!.length);
  await run.store.close();
});
