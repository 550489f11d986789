import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { ControlKind, type Log } from '../../src/log/log.js';
import { openStore, type Store } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { encodeControlBatch } from '../../src/record/control-batch.js';
import { stampBatch } from '../../src/record/record-batch.js';
import { temporaryDirectory } from './crash-image.js';

const MIB = 1024 * 1024;

async function openEmpty(): Promise<Store> {
  return openStore(temporaryDirectory(), { create: true, journalFileBytes: MIB });
}

function batchOf(...values: string[]): Buffer {
  const builder = new BatchBuilder();
  for (const value of values) builder.append(1, null, value);
  return builder.finish();
}

function stamped(baseOffset: number, epoch: number, ...values: string[]): Buffer {
  const batch = batchOf(...values);
  stampBatch(batch, 0, baseOffset, epoch);
  return batch;
}

/** Resolves at the log's next progress report for which `holds` is true. */
function progress(log: Log, holds: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    log.onProgress = () => {
      if (holds()) resolve();
    };
    if (holds()) resolve();
  });
}

test('a run of batches is appended as a whole or not at all', async () => {
  const store = await openEmpty();
  const log = await store.openLog('t', 0, { replicated: true });
  const good = batchOf('a', 'b');
  const bad = batchOf('c');
  bad[bad.length - 1] = 1;
  const run = Buffer.concat([good, bad]);
  expect(() => log.appendProduced(run, 0, run.length, 1)).toThrow(expect.objectContaining({ code: 'CORRUPT_BATCH' }));
  expect(log.end).toBe(0);
  const both = Buffer.concat([Buffer.from('junk'), good, batchOf('c')]);
  expect(log.appendProduced(both, 4, both.length, 1)).toEqual({ baseOffset: 0, lastOffset: 2 });
  await progress(log, () => log.durable === 3);
  expect(log.written).toBe(3);
  await store.close();
});

test('producers cannot write control batches, and batches have a largest size', async () => {
  const store = await openEmpty();
  const log = await store.openLog('t', 0, { replicated: true, maxBatchBytes: 2048 });
  const control = encodeControlBatch(ControlKind.LeaderChange, Buffer.alloc(0), 0, 0, 1);
  expect(() => log.appendProduced(control, 0, control.length, 0)).toThrow(
    expect.objectContaining({ code: 'INVALID_BATCH' }),
  );
  const large = batchOf('x'.repeat(3000));
  expect(() => log.appendProduced(large, 0, large.length, 0)).toThrow(
    expect.objectContaining({ code: 'BATCH_TOO_LARGE' }),
  );
  // What a leader with a larger limit accepted must be taken all the same.
  stampBatch(large, 0, 0, 1);
  expect(log.appendReplicated(large, 0, large.length, 1)).toEqual({ baseOffset: 0, lastOffset: 0 });
  await store.close();
});

test.each(['none', 'gzip'] as const)(
  'records that make too large a batch are refused, compression %s',
  async (compression) => {
    const store = await openEmpty();
    const log = await store.openLog('t', 0, { maxBatchBytes: 2048 });
    // Nothing compresses it.
    const noise = Buffer.concat(Array.from({ length: 100 }, (_, i) => createHash('sha256').update(`${i}`).digest()));
    await expect(log.append([{ value: noise }], { compression })).rejects.toMatchObject({ code: 'BATCH_TOO_LARGE' });
    expect(log.end).toBe(0);
    expect(await log.append([{ value: 'small' }], { compression })).toEqual({ baseOffset: 0, lastOffset: 0 });
    await store.close();
  },
);

test('replicated batches must join on, and their epochs neither go back nor exceed the term', async () => {
  const store = await openEmpty();
  const log = await store.openLog('t', 0, { replicated: true });
  const refused = expect.objectContaining({ code: 'CORRUPT_BATCH' });
  const first = Buffer.concat([stamped(0, 2, 'a', 'b'), stamped(2, 3, 'c')]);
  log.appendReplicated(first, 0, first.length, 3);
  for (const batch of [stamped(4, 3, 'gap'), stamped(2, 3, 'overlap'), stamped(3, 2, 'back'), stamped(3, 5, 'ahead')]) {
    expect(() => log.appendReplicated(batch, 0, batch.length, 4)).toThrow(refused);
  }
  expect(log.end).toBe(3);
  const next = stamped(3, 4, 'd');
  log.appendReplicated(next, 0, next.length, 4);
  expect([log.epochAt(1), log.epochAt(2), log.epochAt(3)]).toEqual([2, 3, 4]);
  await store.close();
});

test('a truncation is refused below the high watermark', async () => {
  const store = await openEmpty();
  const log = await store.openLog('t', 0, { replicated: true });
  const batch = batchOf('a', 'b', 'c');
  log.appendProduced(batch, 0, batch.length, 1);
  log.advanceHighWatermark(3);
  const later = batchOf('d');
  log.appendProduced(later, 0, later.length, 1);
  expect(() => log.truncate(2)).toThrow(expect.objectContaining({ code: 'INVARIANT_BROKEN' }));
  log.truncate(3);
  expect(log.end).toBe(3);
  expect(() => log.advanceHighWatermark(4)).toThrow(expect.objectContaining({ code: 'INVARIANT_BROKEN' }));
  await store.close();
});

test('new bytes count as written only once the truncation before them is durable', async () => {
  const store = await openEmpty();
  const log = await store.openLog('t', 0, { replicated: true, flush: 'none' });
  const batch = batchOf('a');
  for (let i = 0; i < 5; i++) log.appendProduced(batchOf('a'), 0, batch.length, 1);
  expect(log.written).toBe(5);
  log.truncate(2);
  log.appendProduced(batchOf('b'), 0, batch.length, 2);
  expect([log.written, log.end]).toEqual([2, 3]);
  await progress(log, () => log.written === 3);
  expect(log.durable).toBeGreaterThanOrEqual(2);
  await store.close();
});

test('completions of an older generation do not move the durable cursor', async () => {
  const store = await openEmpty();
  const log = await store.openLog('t', 0, { replicated: true });
  const size = batchOf('a').length;
  for (let i = 0; i < 50; i++) log.appendProduced(batchOf('a'), 0, size, 1);
  log.truncate(10);
  const seen: number[] = [];
  log.onProgress = () => seen.push(log.durable);
  await log.flush();
  expect(Math.max(...seen)).toBe(10);
  expect(log.durable).toBe(10);
  await store.close();
});

test('one progress report per group commit, however many batches it holds', async () => {
  const store = await openEmpty();
  const log = await store.openLog('t', 0, { replicated: true });
  let reports = 0;
  log.onProgress = () => {
    reports++;
  };
  const size = batchOf('a').length;
  for (let i = 0; i < 1000; i++) log.appendProduced(batchOf('a'), 0, size, 1);
  await progress(log, () => log.durable === 1000);
  expect(reports).toBeLessThanOrEqual(store.stats().journal.syncs);
  await store.close();
});

test('embedded appends get their offsets in the order of the calls, compressed or not', async () => {
  const store = await openEmpty();
  const log = await store.openLog('t', 0);
  const compressions = ['none', 'zstd', 'lz4', 'none', 'gzip', 'snappy', 'none'] as const;
  const ranges = await Promise.all(
    compressions.map((compression, i) => log.append([{ value: `${i}`.repeat(500) }, { value: 'x' }], { compression })),
  );
  expect(ranges.map((range) => range.baseOffset)).toEqual([0, 2, 4, 6, 8, 10, 12]);
  const { records } = await log.read(0);
  expect(records.map((record) => String(record.value)[0])).toEqual([...'0x1x2x3x4x5x6x']);
  await store.close();
});

test('an embedded append that cannot be encoded leaves nothing behind', async () => {
  const store = await openEmpty();
  const log = await store.openLog('t', 0);
  await expect(log.append([{ value: 'fine' }, { value: 'x', timestamp: 1.5 }])).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
  });
  await expect(log.append([])).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await log.append([{ value: 'after' }]);
  expect((await log.read(0)).records.map((record) => String(record.value))).toEqual(['after']);
  await store.close();
});

test('a record whose value is made by appending elsewhere is in its own batch alone', async () => {
  const store = await openEmpty();
  const [outer, inner] = [await store.openLog('t', 0), await store.openLog('t', 1)];
  const appended: Promise<unknown>[] = [];
  const nested = {
    get value() {
      appended.push(inner.append([{ value: 'inner' }]), outer.append([{ value: 'before' }]));
      return 'second';
    },
  };
  await outer.append([{ value: 'first' }, nested]);
  await Promise.all(appended);
  const valuesOf = async (log: Log) => (await log.read(0)).records.map(({ value }) => String(value));
  expect(await valuesOf(outer)).toEqual(['before', 'first', 'second']);
  expect(await valuesOf(inner)).toEqual(['inner']);
  await store.close();
});

test('what was deleted is gone from the disk, and a deletion stops at the high watermark', async () => {
  const store = await openEmpty();
  const log = await store.openLog('t', 0, { segmentBytes: MIB });
  for (let i = 0; i < 30; i++) await log.append([{ value: 'x'.repeat(100_000) }]);
  await expect(log.deleteBefore(31)).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' });
  await log.deleteBefore(15);
  expect([log.start, log.end]).toEqual([15, 30]);
  expect((await log.read(15, { maxBytes: 1 })).records[0]!.offset).toBe(15);
  await log.deleteBefore(3);
  expect(log.start).toBe(15);
  await log.deleteBefore(30);
  expect([log.start, log.end]).toEqual([30, 30]);
  await log.append([{ value: 'next' }]);
  expect((await log.read(30)).records.length).toBe(1);
  await store.close();
});
