// Batches that are compacted one by one and chained, against a naive model over their records.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CompactionRules, compactBatch, isJudged } from '../../src/compaction/batch-compaction.js';
import { ChainWriter } from '../../src/compaction/chain-writer.js';
import { OffsetMap, SALT_BYTES } from '../../src/compaction/offset-map.js';
import { ProducerBatches } from '../../src/compaction/producer-batches.js';
import { decodeBatchAsync } from '../../src/record/decode.js';
import { deleteHorizonAt, readBatchHeader } from '../../src/record/record-batch.js';
import type { Record } from '../../src/record/types.js';
import { validateStoredBatch } from '../../src/record/validate-batch.js';
import { plain } from '../record/records.js';
import { batchPlan, type BatchPlan, makeBatches, START_TIME } from './batches.js';

const NOW = START_TIME + 1_000_000;
const RETENTION_MS = 60_000;

interface Options {
  readonly now?: number;
  readonly mapEnd?: number;
  readonly isAborted?: CompactionRules['isAborted'];
}

/** Compacts a log held in memory. */
async function compact(batches: readonly Buffer[], options: Options = {}): Promise<Buffer[]> {
  const { now = NOW, mapEnd = Infinity, isAborted = () => false } = options;
  const map = new OffsetMap(1 << 20, 10_000, Buffer.alloc(SALT_BYTES));
  const producers = new ProducerBatches();
  for (const batch of batches) {
    const { producerId, baseOffset, isControl } = readBatchHeader(batch, 0);
    if (producerId >= 0 && !isControl) producers.add(producerId, baseOffset);
    if (!isJudged(batch, 0, isAborted)) continue;
    for (const { key, offset } of await decodeBatchAsync(batch)) {
      if (key !== null && offset < mapEnd) map.put(key, offset);
    }
  }
  const rules: CompactionRules = {
    map,
    mapEnd,
    now,
    deleteRetentionMs: RETENTION_MS,
    isProducersLast: (id, baseOffset) => producers.isLast(id, baseOffset),
    isAborted,
  };
  const output: Buffer[] = [];
  const chain = new ChainWriter(readBatchHeader(batches[0]!, 0).baseOffset, (bytes) => output.push(bytes));
  for (const batch of batches) {
    const { baseOffset, lastOffset, epoch } = readBatchHeader(batch, 0);
    chain.add((await compactBatch(batch, 0, batch.length, rules)).bytes, baseOffset, lastOffset, epoch);
  }
  chain.finish();
  return output;
}

async function recordsOf(batches: readonly Buffer[]): Promise<Record[]> {
  const all: Record[] = [];
  for (const batch of batches) {
    if (!readBatchHeader(batch, 0).isControl)
      all.push(...(await decodeBatchAsync(batch, 0, batch.length, { checkCrc: true })));
  }
  return all;
}

/** Keyed records stay if they are the last of their key; those without a key stay anyway. */
function lastOfKeys(records: readonly Record[], options: { tombstones: boolean; mapEnd?: number }): Record[] {
  const mapEnd = options.mapEnd ?? Infinity;
  const latest = new Map<string, number>();
  for (const { key, offset } of records) if (key !== null && offset < mapEnd) latest.set(key.toString('hex'), offset);
  return records.filter(({ key, value, offset }) => {
    if (key === null || offset >= mapEnd) return true;
    return latest.get(key.toString('hex')) === offset && (options.tombstones || value !== null);
  });
}

function expectChain(input: readonly Buffer[], output: readonly Buffer[]): void {
  const epochs = (batches: readonly Buffer[]) =>
    batches.flatMap((batch) => {
      const { baseOffset, lastOffset, epoch } = readBatchHeader(batch, 0);
      return Array.from({ length: lastOffset - baseOffset + 1 }, (_, i) => `${baseOffset + i}: ${epoch}`);
    });
  for (const batch of output) expect(validateStoredBatch(batch, 0, batch.length, 1 << 22)).toBe(batch.length);
  expect(epochs(output)).toEqual(epochs(input));
}

const plans = fc.array(batchPlan, { minLength: 1, maxLength: 14 });

test('the last record of every key stays as it was, every offset stays covered in its epoch', async () => {
  await fc.assert(
    fc.asyncProperty(plans, async (given) => {
      const input = (await makeBatches(given)).map(({ bytes }) => bytes);
      const output = await compact(input);
      expectChain(input, output);
      expect(plain(await recordsOf(output))).toEqual(plain(lastOfKeys(await recordsOf(input), { tombstones: true })));
    }),
    { numRuns: 150 },
  );
});

test('what stays of a batch keeps its header: offsets, producer, codec, and the horizon of its tombstones is set', async () => {
  await fc.assert(
    fc.asyncProperty(plans, async (given) => {
      const input = (await makeBatches(given)).map(({ bytes }) => bytes);
      const headers = new Map(input.map((batch) => [readBatchHeader(batch, 0).baseOffset, readBatchHeader(batch, 0)]));
      for (const batch of await compact(input)) {
        const after = readBatchHeader(batch, 0);
        const before = headers.get(after.baseOffset)!;
        if (after.recordCount > 0) {
          const { codec, producerId, producerEpoch, baseSequence, lastOffsetDelta, isControl } = before;
          expect(after).toMatchObject({ codec, producerId, producerEpoch, baseSequence, lastOffsetDelta, isControl });
          const records = after.isControl ? [] : await decodeBatchAsync(batch);
          const hasTombstone = records.some(({ value }) => value === null);
          expect(deleteHorizonAt(batch, 0)).toBe(hasTombstone ? NOW + RETENTION_MS : undefined);
          if (records.length > 0 && producerId < 0)
            expect(after.maxTimestamp).toBe(Math.max(...records.map(({ timestamp }) => timestamp)));
        } else if (after.producerId >= 0) {
          const { producerId, producerEpoch, baseSequence, lastOffsetDelta, maxTimestamp } = before;
          expect(after).toMatchObject({ producerId, producerEpoch, baseSequence, lastOffsetDelta, maxTimestamp });
          expect(batch.length).toBe(61);
        } else {
          expect(after).toMatchObject({ attributes: 0, baseTimestamp: -1, maxTimestamp: -1, baseSequence: -1 });
        }
      }
    }),
    { numRuns: 100 },
  );
});

test('the last five batches of each producer keep their header, whatever became of their records', async () => {
  await fc.assert(
    fc.asyncProperty(plans, async (given) => {
      const lastFive = (batches: readonly Buffer[]) => {
        const found: { [producer: string]: string[] } = {};
        for (const batch of batches) {
          const { producerId, baseSequence, lastOffset } = readBatchHeader(batch, 0);
          if (producerId < 0) continue;
          found[producerId] = [...(found[producerId] ?? []), `${baseSequence} to ${lastOffset}`];
        }
        return Object.fromEntries(Object.entries(found).map(([id, list]) => [id, list.slice(-5)]));
      };
      const input = (await makeBatches(given)).map(({ bytes }) => bytes);
      const once = await compact(input);
      expect(lastFive(once)).toEqual(lastFive(input));
      expect(lastFive(await compact(once))).toEqual(lastFive(input));
    }),
    { numRuns: 100 },
  );
});

test('tombstones stay until their horizon has passed, and are gone after it; a second pass changes nothing else', async () => {
  await fc.assert(
    fc.asyncProperty(plans, async (given) => {
      const input = (await makeBatches(given)).map(({ bytes }) => bytes);
      const once = await compact(input);
      const before = await compact(once, { now: NOW + RETENTION_MS - 1 });
      expect(Buffer.concat(before).equals(Buffer.concat(once))).toBe(true);
      const after = await compact(once, { now: NOW + RETENTION_MS });
      expectChain(input, after);
      expect(plain(await recordsOf(after))).toEqual(plain(lastOfKeys(await recordsOf(input), { tombstones: false })));
    }),
    { numRuns: 100 },
  );
});

test('records that the map does not reach are left alone', async () => {
  await fc.assert(
    fc.asyncProperty(plans, fc.nat(60), async (given, mapEnd) => {
      const input = (await makeBatches(given)).map(({ bytes }) => bytes);
      const output = await compact(input, { mapEnd });
      expectChain(input, output);
      const kept = lastOfKeys(await recordsOf(input), { tombstones: true, mapEnd });
      expect(plain(await recordsOf(output))).toEqual(plain(kept));
    }),
    { numRuns: 100 },
  );
});

describe('transactions', () => {
  const batch = (producer: number, value: string): BatchPlan => ({
    compression: 'none',
    newEpoch: false,
    producer,
    transactional: producer > 0,
    records: [{ timestamp: START_TIME, key: 'k', value, headers: [] }],
  });

  async function values(isAborted: boolean): Promise<string[]> {
    const input = (await makeBatches([batch(0, 'before'), batch(1, 'inside')])).map(({ bytes }) => bytes);
    const output = await compact(input, { isAborted: () => isAborted });
    expectChain(input, output);
    return (await recordsOf(output)).map(({ value }) => String(value));
  }

  test('a committed record replaces what came before it', async () => {
    expect(await values(false)).toEqual(['inside']);
  });

  test('an aborted record goes, and what came before it stays', async () => {
    expect(await values(true)).toEqual(['before']);
  });
});
