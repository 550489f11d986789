import { expect, test } from 'vitest';
import type { Log } from '../../src/log/log.js';
import { ControlKind } from '../../src/log/log.js';
import { openStore, type Store } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { baseOffsetAt, batchSizeAt, lastOffsetAt } from '../../src/record/record-batch.js';
import { temporaryDirectory } from './crash-image.js';

const MIB = 1024 * 1024;

async function openEmpty(): Promise<Store> {
  return openStore(temporaryDirectory(), { create: true, journalFileBytes: MIB });
}

function batchOf(values: readonly string[], timestamp = 1): Buffer {
  const builder = new BatchBuilder();
  for (const value of values) builder.append(timestamp, null, value);
  return builder.finish();
}

function produce(log: Log, values: readonly string[], timestamp = 1): void {
  const batch = batchOf(values, timestamp);
  log.appendProduced(batch, 0, batch.length, Math.max(0, log.lastEpoch));
}

test('consumers see what is committed, replication sees everything', async () => {
  const store = await openEmpty();
  const log = await store.openLog('t', 0, { replicated: true });
  produce(log, ['a', 'b', 'c']);
  produce(log, ['d']);
  expect(log.viewsFrom(0, MIB)).toEqual({ views: [], nextOffset: 0, highWatermark: 0 });
  expect(log.viewsFrom(0, MIB, 'end').nextOffset).toBe(4);
  log.advanceHighWatermark(3);
  expect(log.viewsFrom(0, MIB).nextOffset).toBe(3);
  expect((await log.read(1)).records.map((record) => [record.offset, String(record.value)])).toEqual([
    [1, 'b'],
    [2, 'c'],
  ]);
  // Beyond the high watermark, but inside the log: nothing yet.
  expect((await log.read(4)).records).toEqual([]);
  await expect(log.read(5)).rejects.toMatchObject({
    code: 'OFFSET_OUT_OF_RANGE',
    message: expect.stringContaining('[0, 4)'),
  });
  await expect(log.read(-1)).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' });
  await store.close();
});

test('views hold whole batches, at least one, however many segments they come from', async () => {
  const store = await openEmpty();
  const log = await store.openLog('t', 0, { segmentBytes: MIB });
  for (let i = 0; i < 40; i++) produce(log, [`${i}`.padEnd(100_000, '.')]);
  await log.flush();
  const everything = log.viewsFrom(0, 100 * MIB);
  expect(everything.views.length).toBeGreaterThan(3);
  expect(everything.nextOffset).toBe(40);
  for (const maxBytes of [1, 100_200, 350_000, 2 * MIB]) {
    for (let offset = 0; offset < 40; ) {
      const { views, nextOffset } = log.viewsFrom(offset, maxBytes);
      const bytes = views.reduce((sum, view) => sum + view.length, 0);
      expect(bytes <= maxBytes || nextOffset === offset + 1).toBe(true);
      expect(nextOffset === 40 || bytes + 100_100 > maxBytes).toBe(true);
      expect(log.span(offset, maxBytes)).toEqual({ end: nextOffset, bytes });
      for (const view of views) {
        for (let at = 0; at < view.length; at += batchSizeAt(view, at)) {
          expect(baseOffsetAt(view, at)).toBe(offset);
          offset = lastOffsetAt(view, at) + 1;
        }
      }
      expect(offset).toBe(nextOffset);
    }
  }
  await store.close();
});

test('reads that the ring of recent batches no longer covers find the same batches', async () => {
  const store = await openEmpty();
  const log = await store.openLog('t', 0);
  for (let i = 0; i < 10_000; i++) produce(log, [`${i}`]);
  await log.flush();
  for (const offset of [0, 1, 57, 4_999, 5_903, 5_904, 5_905, 9_999]) {
    const { records } = await log.read(offset, { maxBytes: 200 });
    expect(records.map((record) => String(record.value))).toEqual(records.map((_, i) => String(offset + i)));
    expect(records.length).toBe(Math.min(2, 10_000 - offset));
  }
  expect((await log.read(0, { maxBytes: 10 * MIB })).records.length).toBe(10_000);
  await store.close();
});

test('views stay valid after their segment was deleted and the store closed', async () => {
  const store = await openEmpty();
  const log = await store.openLog('t', 0, { segmentBytes: MIB });
  for (let i = 0; i < 30; i++) produce(log, [`${i}`.padEnd(100_000, '.')]);
  await log.flush();
  const { views } = log.viewsFrom(0, 1);
  const before = Buffer.from(views[0]!);
  await log.deleteBefore(25);
  expect(views[0]!.equals(before)).toBe(true);
  await store.close();
  expect(views[0]!.equals(before)).toBe(true);
});

test('a long poll ends as soon as enough is committed', async () => {
  const store = await openEmpty();
  const log = await store.openLog('t', 0, { replicated: true });
  const one = log.read(0, { minBytes: 1, maxWaitMs: 600_000 });
  const many = log.readViews(0, { minBytes: 250, maxWaitMs: 600_000 });
  let manyIsDone = false;
  void many.then(() => {
    manyIsDone = true;
  });
  produce(log, ['a']);
  await log.flush();
  log.advanceHighWatermark(1);
  expect((await one).nextOffset).toBe(1);
  expect(manyIsDone).toBe(false);
  for (let i = 0; i < 3; i++) produce(log, ['a']);
  log.advanceHighWatermark(4);
  expect((await many).nextOffset).toBe(4);
  await store.close();
});

test('a long poll that gets nothing ends with nothing, where it began', async () => {
  const store = await openEmpty();
  const log = await store.openLog('t', 0);
  expect(await log.read(0, { minBytes: 1, maxWaitMs: 20 })).toEqual({ records: [], nextOffset: 0, highWatermark: 0 });
  await store.close();
});

test('control batches take offsets, and reading moves over them', async () => {
  const store = await openEmpty();
  const log = await store.openLog('t', 0, { replicated: true });
  expect(log.appendControl(ControlKind.LeaderChange, Buffer.from('x'), 3)).toEqual({ baseOffset: 0, lastOffset: 0 });
  produce(log, ['a']);
  log.appendControl(ControlKind.LeaderChange, Buffer.from('y'), 4);
  await log.flush();
  log.advanceHighWatermark(3);
  const { records, nextOffset } = await log.read(0);
  expect(records.map((record) => record.offset)).toEqual([1]);
  expect(nextOffset).toBe(3);
  expect(await log.read(2)).toEqual({ records: [], nextOffset: 3, highWatermark: 3 });
  expect([log.epochAt(0), log.epochAt(1), log.epochAt(2), log.lastEpoch]).toEqual([3, 3, 4, 4]);
  expect(log.endForEpoch(3)).toEqual({ epoch: 3, end: 2 });
  expect(log.endForEpoch(2)).toEqual({ epoch: -1, end: 0 });
  await store.close();
});

test('offsetForTimestamp finds the first record that is young enough, in any segment, also after reopening', async () => {
  const path = temporaryDirectory();
  const times = Array.from({ length: 600 }, (_, i) => 1000 + ((i * 37) % 91) + i * 10);
  let store = await openStore(path, { create: true, journalFileBytes: MIB });
  let log = await store.openLog('t', 0, { segmentBytes: MIB });
  for (const time of times) produce(log, ['x'.repeat(9_000)], time);
  await log.flush();
  for (let round = 0; round < 2; round++) {
    for (const wanted of [0, 1000, 1037, 2500, 4321, 6999, 7042, 7100, 1e9]) {
      const offset = times.findIndex((time) => time >= wanted);
      expect(await log.offsetForTimestamp(wanted)).toEqual(
        offset < 0 ? undefined : { offset, timestamp: times[offset] },
      );
    }
    await store.close();
    store = await openStore(path);
    log = await store.openLog('t', 0, { segmentBytes: MIB });
  }
  await store.close();
});

test('offsetForTimestamp does not look above the high watermark', async () => {
  const store = await openEmpty();
  const log = await store.openLog('t', 0, { replicated: true });
  produce(log, ['a'], 10);
  produce(log, ['b'], 20);
  log.advanceHighWatermark(1);
  expect(await log.offsetForTimestamp(15)).toBeUndefined();
  log.advanceHighWatermark(2);
  expect(await log.offsetForTimestamp(15)).toEqual({ offset: 1, timestamp: 20 });
  await store.close();
});

test('offsetForTimestamp knows what a truncation left, also between index entries', async () => {
  const store = await openEmpty();
  const log = await store.openLog('t', 0, { replicated: true, indexIntervalBytes: 1024 });
  const times = Array.from({ length: 300 }, (_, i) => 1000 + i);
  for (const time of times) produce(log, ['x'.repeat(100)], time);
  for (const cut of [251, 137, 136, 60]) {
    log.truncate(cut);
    await log.flush();
    expect(await log.offsetForTimestamp(0)).toBeUndefined();
  }
  log.advanceHighWatermark(60);
  for (const wanted of [0, 1000, 1030, 1058, 1059]) {
    const offset = Math.max(0, wanted - 1000);
    expect(await log.offsetForTimestamp(wanted)).toEqual({ offset, timestamp: 1000 + offset });
  }
  expect(await log.offsetForTimestamp(1060)).toBeUndefined();
  produce(log, ['younger'], 5000);
  log.advanceHighWatermark(61);
  expect(await log.offsetForTimestamp(1060)).toEqual({ offset: 60, timestamp: 5000 });
  await store.close();
});
