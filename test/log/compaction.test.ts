import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Log } from '../../src/log/log.js';
import { openStore, type OpenLogOptions, type Store } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import type { Compression, Record, RecordInput } from '../../src/record/types.js';
import { validateStoredBatch } from '../../src/record/validate-batch.js';
import { crashImage, temporaryDirectory } from './crash-image.js';
import { Faults, openFailing } from './failing-disk.js';

const MIB = 1024 * 1024;
const STORE = { create: true, journalFileBytes: MIB, journalMaxBytes: 8 * MIB, checkpointIntervalMs: 3_600_000 };
const COMPACT: OpenLogOptions = { cleanup: 'compact', segmentBytes: MIB };
const KEYS = 1000;

/** The last value of each key, by offset; what a compacted log is to hold. */
type Model = Map<string, { readonly offset: number; readonly value: string | null }>;

/** Appends `count` records over `KEYS` keys, in batches of 200. */
async function fill(log: Log, model: Model, count: number, compression: Compression = 'none'): Promise<void> {
  const pending: Promise<unknown>[] = [];
  for (let i = 0; i < count; i += 200) {
    const records: RecordInput[] = [];
    for (let n = i; n < i + 200; n++) {
      const at = log.end + records.length;
      const key = `key ${(at * 7919) % KEYS}`;
      const value = at % 97 === 0 ? null : `value ${at} ${'x'.repeat(80)}`;
      records.push({ key, value, timestamp: 1_700_000_000_000 + at });
    }
    const { length } = records;
    const first = log.end;
    pending.push(log.append(records, { compression }));
    if (compression !== 'none') await pending.at(-1);
    expect(log.end).toBe(first + length);
    for (const [n, { key, value }] of records.entries()) {
      model.set(key as string, { offset: first + n, value: value as string | null });
    }
  }
  await Promise.all(pending);
}

/** Everything in the log; on the way, that its batches are valid and join on to each other. */
async function recordsOf(log: Log): Promise<Record[]> {
  const all: Record[] = [];
  for (let offset = log.start; offset < log.highWatermark; ) {
    const { records, nextOffset } = await log.read(offset, { maxBytes: 100_000 });
    all.push(...records);
    const { views } = log.viewsFrom(offset, 100_000);
    for (const view of views) {
      for (let at = 0; at < view.length; ) at += validateStoredBatch(view, at, view.length, 4 * MIB);
    }
    expect(nextOffset).toBeGreaterThan(offset);
    offset = nextOffset;
  }
  return all;
}

function expectModel(records: readonly Record[], model: Model): void {
  const found = records.map(({ key, offset, value }) => [String(key), offset, value === null ? null : String(value)]);
  const wanted = [...model].map(([key, { offset, value }]) => [key, offset, value]);
  wanted.sort((a, b) => Number(a[1]) - Number(b[1]));
  expect(found).toEqual(wanted);
}

function logFiles(path: string): string[] {
  const partition = readdirSync(path).find((name) => name.startsWith('t-0'))!;
  return readdirSync(join(path, partition)).filter((name) => name.endsWith('.log'));
}

test('keeps the last record of every key at its offset, over passes and reopenings', async () => {
  const path = temporaryDirectory();
  const model: Model = new Map();
  let store = await openStore(path, STORE);
  let log = await store.openLog('t', 0, COMPACT);
  await fill(log, model, 20_000);
  const { end } = log;
  const report = await log.compact();
  expect(report).toMatchObject({ end: 'complete', from: 0, to: 20_000, recordsKept: KEYS, recordsRemoved: 19_000 });
  expect(report.bytesAfter).toBeLessThan(report.bytesBefore / 10);
  expect([log.start, log.end, log.highWatermark]).toEqual([0, end, end]);
  expectModel(await recordsOf(log), model);
  expect(await log.offsetForTimestamp(1_700_000_000_000)).toMatchObject({ offset: (await recordsOf(log))[0]!.offset });
  expect(store.stats().compaction).toMatchObject({ passes: 1, recordsRemoved: 19_000, failures: 0 });

  await fill(log, model, 10_000, 'lz4');
  await store.close();
  store = await openStore(path, STORE);
  log = await store.openLog('t', 0, COMPACT);
  expectModel(
    (await recordsOf(log)).filter(({ offset }) => offset >= 29_000),
    new Map([...model].filter(([, { offset }]) => offset >= 29_000)),
  );
  expect(await log.compact()).toMatchObject({ end: 'complete', from: 20_000, to: 30_000, recordsKept: KEYS });
  expectModel(await recordsOf(log), model);
  await store.checkpoint();
  // One compacted segment and the active one.
  expect(logFiles(path)).toHaveLength(2);
  await fill(log, model, 200);
  await store.close();

  store = await openStore(path, STORE);
  log = await store.openLog('t', 0, COMPACT);
  expect(log.end).toBe(30_200);
  await log.compact();
  expectModel(await recordsOf(log), model);
  await store.close();
});

test('a log is compacted by itself after a checkpoint, once half of it is new', async () => {
  const store = await openStore(temporaryDirectory(), STORE);
  const log = await store.openLog('t', 0, COMPACT);
  const other = await store.openLog('u', 0, { segmentBytes: MIB });
  const model: Model = new Map();
  await fill(log, model, 20_000);
  await fill(other, new Map(), 20_000);
  await store.checkpoint();
  await until(() => store.stats().compaction.passes === 1);
  expect((await recordsOf(log)).length).toBeLessThan(20_000);
  expect(await recordsOf(other)).toHaveLength(20_000);
  // What was compacted is clean now: little new data changes nothing.
  await store.checkpoint();
  expect(store.stats().compaction.passes).toBe(1);
  await store.close();
});

test('nothing above the high watermark is compacted, nor what is younger than the lag', async () => {
  const store = await openStore(temporaryDirectory(), STORE);
  const log = await store.openLog('t', 0, { ...COMPACT, replicated: true });
  for (let i = 0; i < 6; i++) {
    const batch = batchOf([{ key: 'k', value: String(i) }]);
    log.appendProduced(batch, 0, batch.length, 1);
  }
  await log.flush();
  log.advanceHighWatermark(3);
  expect(await log.compact()).toMatchObject({ end: 'nothing-to-do' });
  log.advanceHighWatermark(6);
  expect(await log.compact()).toMatchObject({ end: 'complete', recordsKept: 1, recordsRemoved: 5 });
  await store.close();

  const again = await openStore(temporaryDirectory(), STORE);
  const young = await again.openLog('t', 0, { ...COMPACT, minCompactionLagMs: 3_600_000 });
  await young.append([{ key: 'k', value: '1', timestamp: Date.now() - 7_200_000 }]);
  await young.append([{ key: 'k', value: '2', timestamp: Date.now() }]);
  expect(await young.compact()).toMatchObject({ end: 'nothing-to-do' });
  await again.close();
});

test('tombstones stay for deleteRetentionMs after their first compaction, and then go', async () => {
  const store = await openStore(temporaryDirectory(), STORE);
  const log = await store.openLog('t', 0, { ...COMPACT, deleteRetentionMs: 0 });
  await log.append([
    { key: 'a', value: '1' },
    { key: 'b', value: '2' },
  ]);
  await log.append([{ key: 'a', value: null }]);
  await log.compact();
  expect((await recordsOf(log)).map(({ offset, value }) => [offset, value === null])).toEqual([
    [1, false],
    [2, true],
  ]);
  expect(await log.compact()).toMatchObject({ recordsRemoved: 1 });
  expect((await recordsOf(log)).map(({ offset }) => offset)).toEqual([1]);
  expect(log.end).toBe(3);
  await store.close();
});

test('a full buffer for keys ends the pass, and the next one goes on from there', async () => {
  const store = await openStore(temporaryDirectory(), { ...STORE, compactionBufferBytes: 24 * 400 });
  const log = await store.openLog('t', 0, COMPACT);
  const model: Model = new Map();
  await fill(log, model, 2_000);
  const ends: string[] = [];
  for (let to = 0; to < 2_000; ) {
    const report = await log.compact();
    expect(report.to).toBeGreaterThan(to);
    ends.push(report.end);
    ({ to } = report);
  }
  expect(ends.length).toBeGreaterThan(3);
  expect(ends.at(-1)).toBe('complete');
  expectModel(await recordsOf(log), model);
  await store.close();
});

test('views held and reads begun before a swap stay right', async () => {
  const store = await openStore(temporaryDirectory(), STORE);
  const log = await store.openLog('t', 0, COMPACT);
  await fill(log, new Map(), 10_000);
  const { views } = await log.readViews(0, { maxBytes: 8 * MIB });
  const before = views.map((view) => Buffer.from(view));
  const reading = log.read(0, { maxBytes: 8 * MIB });
  const timestamp = log.offsetForTimestamp(1_700_000_000_000 + 9_999);
  const compacting = log.compact();
  expect((await reading).records).toHaveLength(10_000);
  expect(await timestamp).toMatchObject({ offset: 9_999 });
  await compacting;
  await store.checkpoint();
  for (const [i, view] of views.entries()) expect(view.equals(before[i]!)).toBe(true);
  await store.close();
});

test('appends, truncations and deletions go on while a log is compacted', async () => {
  const store = await openStore(temporaryDirectory(), STORE);
  const log = await store.openLog('t', 0, { ...COMPACT, replicated: true });
  const append = (key: string, value: string) => {
    const batch = batchOf([{ key, value }]);
    return log.appendProduced(batch, 0, batch.length, 1).baseOffset;
  };
  for (let i = 0; i < 4_000; i++) append(`key ${i % 10}`, `${i} ${'x'.repeat(500)}`);
  await log.flush();
  log.advanceHighWatermark(log.end);
  const compacting = log.compact();
  for (let i = 0; i < 50; i++) {
    const cut = append('new', String(i));
    append('new', `${i} again`);
    if (i % 2 === 0) log.truncate(cut + 1);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const deleting = log.deleteBefore(2_000);
  expect(['complete', 'interrupted']).toContain((await compacting).end);
  await deleting;
  await log.flush();
  log.advanceHighWatermark(log.end);
  await log.compact();
  const records = await recordsOf(log);
  expect(records.slice(0, 10).map(({ offset }) => offset)).toEqual(Array.from({ length: 10 }, (_, i) => 3_990 + i));
  expect(String(records.at(-1)!.value)).toBe('49 again');
  expect(records).toHaveLength(11);
  await store.close();
});

test('closing the store ends a compaction; what was replaced before counts, and nothing is left behind', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, { ...STORE, compactionBytesPerSecond: 1_000_000 });
  const log = await store.openLog('t', 0, COMPACT);
  const model: Model = new Map();
  await fill(log, model, 20_000);
  const compacting = log.compact();
  await store.close();
  expect((await compacting).end).toBe('interrupted');
  expect(logFiles(path).filter((name) => name.length > 24)).toEqual([]);

  const again = await openStore(path, STORE);
  const reopened = await again.openLog('t', 0, COMPACT);
  expect(reopened.recovery.clean).toBe(true);
  await reopened.compact();
  expectModel(await recordsOf(reopened), model);
  await again.close();
});

describe('records without a key', () => {
  test.each(['none', 'gzip', 'snappy', 'lz4'] as const)(
    'are refused with %s, and nothing is stored',
    async (compression) => {
      const store = await openStore(temporaryDirectory(), STORE);
      const log = await store.openLog('t', 0, { cleanup: 'compact+delete' });
      expect(log.options.cleanup).toBe('compact,delete');
      const refused = { code: 'INVALID_BATCH', message: expect.stringContaining('record 1') };
      const records = [{ key: '', value: 'x'.repeat(500) }, { value: 'y'.repeat(500) }];
      await expect(log.append(records, { compression })).rejects.toMatchObject(refused);
      const builder = new BatchBuilder();
      for (const { key, value } of records) builder.append(1, key, value);
      const batch = await builder.finishCompressed(compression);
      expect(() => log.appendProduced(batch, 0, batch.length, 0)).toThrow(expect.objectContaining(refused));
      expect(log.end).toBe(0);
      await store.close();
    },
  );

  test('that were there before the log was compacted stay', async () => {
    const path = temporaryDirectory();
    const store = await openStore(path, STORE);
    let log = await store.openLog('t', 0);
    await log.append([{ value: '1' }, { key: 'k', value: '2' }, { value: '3' }, { key: 'k', value: '4' }]);
    await log.close();
    log = await store.openLog('t', 0, COMPACT);
    await log.compact();
    expect((await recordsOf(log)).map(({ value }) => String(value))).toEqual(['1', '3', '4']);
    await store.close();
  });
});

test('a crash after the swap brings nothing back', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, STORE);
  const log = await store.openLog('t', 0, COMPACT);
  const model: Model = new Map();
  await fill(log, model, 20_000);
  await log.compact();
  await fill(log, model, 200);
  const image = crashImage(path);
  await store.close();

  const again = await openStore(image, STORE);
  const recovered = await again.openLog('t', 0, COMPACT);
  expect(recovered.recovery.damaged).toEqual([]);
  expect((await recordsOf(recovered)).length).toBeLessThan(1_300);
  await recovered.compact();
  expectModel(await recordsOf(recovered), model);
  await again.close();
});

function batchOf(records: readonly RecordInput[]): Buffer {
  const builder = new BatchBuilder();
  for (const { key, value } of records) builder.append(1, key, value);
  return builder.finish();
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

describe('a compaction that cannot go on', () => {
  async function prepared(faults: Faults): Promise<{ store: Store; log: Log; path: string; model: Model }> {
    const path = temporaryDirectory();
    const store = await openFailing(path, faults, STORE);
    const log = await store.openLog('t', 0, COMPACT);
    const model: Model = new Map();
    await fill(log, model, 10_000);
    return { store, log, path, model };
  }

  test('for want of space changes nothing, leaves nothing behind, and succeeds when space returns', async () => {
    const faults = new Faults();
    const { store, log, path, model } = await prepared(faults);
    faults.fail('writeFile', '.log', 'DISK_FULL');
    const report = await log.compact();
    expect(report).toMatchObject({ end: 'disk-full', segmentsAfter: 0, reason: expect.stringContaining('writeFile') });
    expect(await recordsOf(log)).toHaveLength(10_000);
    expect(store.failed).toBeUndefined();
    expect(store.stats().compaction.failures).toBe(1);
    faults.heal();
    faults.fail('replaceFile', '.timeindex', 'DISK_FULL');
    expect(await log.compact()).toMatchObject({ end: 'disk-full' });
    expect(logFiles(path).filter((name) => name.length > 24)).toEqual([]);
    faults.heal();
    expect(await log.compact()).toMatchObject({ end: 'complete' });
    expectModel(await recordsOf(log), model);
    await store.close();
  });

  test('because a write failed is the end of the store, and reads go on', async () => {
    const faults = new Faults();
    const { store, log } = await prepared(faults);
    faults.fail('writeFile', '.log', 'DISK_FAILED');
    await expect(log.compact()).rejects.toMatchObject({ code: 'DISK_FAILED' });
    expect(store.failed).toMatchObject({ code: 'DISK_FAILED' });
    expect(await recordsOf(log)).toHaveLength(10_000);
    await store.close();
  });

  test('because its swap never became durable is not done', async () => {
    const faults = new Faults();
    const { store, log } = await prepared(faults);
    let failing = false;
    const check = faults.check.bind(faults);
    // The last thing before the swap is journalled.
    faults.check = (method, path) => {
      check(method, path);
      if (failing || method !== 'replaceFile' || !String(path).endsWith('.timeindex')) return;
      if (!String(path).includes('.1000000000001.')) return;
      failing = true;
      faults.failJournal('fdatasync: input/output error');
    };
    const outcome = await log.compact().then(
      ({ end }) => end,
      ({ code }) => code,
    );
    expect(failing).toBe(true);
    expect(['interrupted', 'DISK_FAILED']).toContain(outcome);
    expect(await recordsOf(log)).toHaveLength(10_000);
    await store.close();
  });

  test('because a segment does not read back right removes nothing', async () => {
    const { store, log, path } = await prepared(new Faults());
    await store.checkpoint();
    const partition = readdirSync(path).find((name) => name.startsWith('t-0'))!;
    const file = join(path, partition, `${'0'.repeat(20)}.log`);
    const bytes = readFileSync(file);
    bytes[5000]! ^= 1;
    const opened = openSync(file, 'r+');
    writeSync(opened, bytes, 5000, 1, 5000);
    closeSync(opened);
    expect(await log.compact()).toMatchObject({
      end: 'damaged',
      segmentsAfter: 0,
      reason: expect.stringContaining(file.slice(-24)),
    });
    expect(store.failed).toBeUndefined();
    expect(readFileSync(file).equals(bytes)).toBe(true);
    await store.close();
  });
});
