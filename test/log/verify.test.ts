// Log.verify: whatever is wrong with a segment that has ended is found, remembered, and never cut off.
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Log } from '../../src/log/log.js';
import { openStore, type Store } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { batchSizeAt } from '../../src/record/record-batch.js';
import { decodeSeal, encodeSeal } from '../../src/segment/seal.js';
import { crashImage, temporaryDirectory } from './crash-image.js';

const MIB = 1024 * 1024;
const OPTIONS = { create: true, journalFileBytes: MIB, journalMaxBytes: 64 * MIB, checkpointIntervalMs: 3_600_000 };
const LOG_OPTIONS = { segmentBytes: MIB };
const RECORD_BYTES = 5000;

async function append(log: Log, count: number): Promise<void> {
  const all = [];
  for (let i = 0; i < count; i++) all.push(log.append([{ value: `${log.end}`.padEnd(RECORD_BYTES, '.') }]));
  await Promise.all(all);
}

/** A closed store whose log t-0 has four sealed segments and one that is written. */
async function closedStore(): Promise<string> {
  const path = temporaryDirectory();
  const store = await openStore(path, OPTIONS);
  await append(await store.openLog('t', 0, LOG_OPTIONS), 900);
  await store.close();
  return path;
}

function files(path: string, ending: string): string[] {
  const directory = join(path, readdirSync(path).find((name) => name.startsWith('t-0.'))!);
  return readdirSync(directory)
    .filter((name) => name.endsWith(ending))
    .map((name) => join(directory, name));
}

function change(file: string, position: number, bit = 1): void {
  const bytes = readFileSync(file);
  bytes[position] = bytes[position]! ^ bit;
  writeFileSync(file, bytes);
}

/** Offsets that can be read; every other one fails with CORRUPT_LOG. */
async function readable(log: Log): Promise<number[]> {
  const offsets: number[] = [];
  for (let offset = log.start; offset < log.end; offset++) {
    try {
      const { records } = await log.read(offset, { maxBytes: 1 });
      expect(Number.parseInt(String(records[0]!.value), 10)).toBe(offset);
      offsets.push(offset);
    } catch (error) {
      expect(error).toMatchObject({ code: 'CORRUPT_LOG' });
    }
  }
  return offsets;
}

function without(log: Log, ...missing: number[]): number[] {
  return Array.from({ length: log.end }, (_, i) => i).filter((offset) => !missing.includes(offset));
}

async function open(path: string): Promise<{ store: Store; log: Log }> {
  const store = await openStore(path, OPTIONS);
  return { store, log: await store.openLog('t', 0, LOG_OPTIONS) };
}

test('every segment that ended has a seal, and checks out', async () => {
  const path = await closedStore();
  const seals = files(path, '.seal');
  expect(seals.length).toBe(files(path, '.log').length - 1);
  let end = 0;
  for (const file of seals) {
    const seal = decodeSeal(readFileSync(file))!;
    expect(Number.parseInt(file.split('/').at(-1)!, 10)).toBe(end);
    expect(seal.batches).toBe(seal.end - end);
    end = seal.end;
  }
  const { store, log } = await open(path);
  const report = await log.verify();
  expect(report).toEqual({
    segments: seals.length,
    batches: end,
    bytes: expect.any(Number),
    damaged: [],
    resealed: [],
  });
  expect(await log.verify()).toEqual(report);
  await store.close();
});

test.each([
  ['in a record', 1000, 'CRC32C'],
  ['in the CRC', 17, 'CRC32C'],
  ['in the base offset', 7, 'does not continue'],
  ['in the magic', 16, 'header cannot be right'],
  ['in the length', 11, ''],
  ['in the epoch', 15, 'epoch'],
  ['in the record count', 60, ''],
])('one wrong bit %s is found, that batch is refused, and the others are read', async (_where, at, reason) => {
  const path = await closedStore();
  const file = files(path, '.log')[1]!;
  const size = batchSizeAt(readFileSync(file), 0);
  const base = Number.parseInt(file.split('/').at(-1)!, 10);
  change(file, 20 * size + at);
  const before = readFileSync(file);
  let { store, log } = await open(path);
  const { damaged } = await log.verify();
  expect(damaged).toEqual([
    {
      segmentBaseOffset: base,
      position: 20 * size,
      endPosition: expect.any(Number),
      baseOffset: base + 20,
      lastOffset: base + 20,
      reason: expect.stringContaining(reason),
    },
  ]);
  const lost = (damaged[0]!.endPosition - 20 * size) / size;
  // The length itself, or a batch that is not even one: the next index entry is the next sure place.
  expect(lost).toBe(1);
  expect(await readable(log)).toEqual(without(log, base + 20));
  // Known now, and so not found again.
  expect((await log.verify()).damaged).toEqual([]);
  await append(log, 10);
  await store.checkpoint();
  const image = crashImage(path);
  await store.close();
  expect(readFileSync(file).equals(before)).toBe(true);

  for (const again of [path, image]) {
    ({ store, log } = await open(again));
    expect(log.recovery.damaged).toEqual(damaged);
    expect(await readable(log)).toEqual(without(log, base + 20));
    expect((await log.verify()).damaged).toEqual([]);
    await store.close();
  }
});

test('damage in several places is found in one go', async () => {
  const path = await closedStore();
  const logs = files(path, '.log');
  const size = batchSizeAt(readFileSync(logs[0]!), 0);
  const base = Number.parseInt(logs[2]!.split('/').at(-1)!, 10);
  change(logs[0]!, 70);
  change(logs[0]!, 3 * size + 70);
  change(logs[0]!, 4 * size + 70);
  change(logs[2]!, 100 * size + 3000);
  const { store, log } = await open(path);
  const { damaged } = await log.verify();
  expect(damaged.map(({ position }) => position / size)).toEqual([0, 3, 4, 100]);
  expect(await readable(log)).toEqual(without(log, 0, 3, 4, base + 100));
  const { views, nextOffset } = log.viewsFrom(1, MIB);
  expect([views.length, nextOffset]).toEqual([1, 3]);
  await store.close();
});

test('bytes of another log in the place of a segment are found by its seal', async () => {
  const path = await closedStore();
  const store = await openStore(path, OPTIONS);
  const other = await store.openLog('u', 0, LOG_OPTIONS);
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  const file = files(path, '.log')[1]!;
  const bytes = readFileSync(file);
  const builder = new BatchBuilder();
  builder.append(1, null, 'another'.padEnd(RECORD_BYTES, '.'));
  const batch = builder.finish();
  // The same offset, epoch and size, and a good CRC.
  const size = batchSizeAt(bytes, 0);
  const foreign = Buffer.from(bytes.subarray(5 * size, 6 * size));
  batch.copy(foreign, 16, 16, Math.min(batch.length, size));
  expect(batch.length).toBe(size);
  foreign.copy(bytes, 5 * size);
  writeFileSync(file, bytes);
  const { damaged } = await log.verify();
  expect(damaged).toMatchObject([{ position: 0, reason: expect.stringContaining('sealed') }]);
  await expect(log.read(Number.parseInt(file.split('/').at(-1)!, 10))).rejects.toMatchObject({ code: 'CORRUPT_LOG' });
  expect((await other.verify()).segments).toBe(0);
  await store.close();
});

test('a seal that is gone or cannot be read is written anew once every batch checked out', async () => {
  const path = await closedStore();
  const seals = files(path, '.seal');
  const right = seals.map((file) => readFileSync(file));
  rmSync(seals[0]!);
  change(seals[1]!, 20);
  // One that is older than the segment's present end.
  writeFileSync(seals[2]!, encodeSeal({ ...decodeSeal(right[2]!)!, length: 5 }));
  const { store, log } = await open(path);
  const { damaged, resealed } = await log.verify();
  expect(damaged).toEqual([]);
  expect(resealed).toEqual(seals.slice(0, 3).map((file) => Number.parseInt(file.split('/').at(-1)!, 10)));
  expect(seals.map((file) => readFileSync(file))).toEqual(right);
  await store.close();
});

test('a segment that was cut is sealed anew', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0, { ...LOG_OPTIONS, replicated: true });
  for (let i = 0; i < 450; i++) {
    const builder = new BatchBuilder();
    builder.append(i, null, `${i}`.padEnd(RECORD_BYTES, '.'));
    const batch = builder.finish();
    log.appendProduced(batch, 0, batch.length, 0);
  }
  await store.checkpoint();
  const [first] = files(path, '.seal');
  expect(decodeSeal(readFileSync(first!))!.end).toBeGreaterThan(100);
  log.truncate(100);
  await store.checkpoint();
  expect(decodeSeal(readFileSync(first!))).toMatchObject({ end: 100, batches: 100, maxTimestamp: 99 });
  expect(files(path, '.seal').length).toBe(1);
  expect(await log.verify()).toMatchObject({ segments: 1, batches: 100, damaged: [] });
  await store.close();
});

test('a file that is gone or cut short is damage from there on', async () => {
  const path = await closedStore();
  const [first, second] = files(path, '.log');
  const size = batchSizeAt(readFileSync(first!), 0);
  rmSync(first!);
  writeFileSync(second!, readFileSync(second!).subarray(0, 3 * size + 10));
  const { store, log } = await open(path);
  const { damaged } = await log.verify();
  expect(damaged.map(({ position }) => position)).toEqual([0, 3 * size]);
  expect(existsSync(first!)).toBe(false);
  await store.checkpoint();
  expect(store.failed).toBeUndefined();
  await store.close();
});

test('segments deleted meanwhile are left out; a log closed meanwhile says so', async () => {
  const path = await closedStore();
  const { store, log } = await open(path);
  const verifying = log.verify();
  await log.deleteBefore(log.end);
  expect((await verifying).damaged).toEqual([]);
  await append(log, 450);
  const closing = expect(log.verify()).rejects.toMatchObject({ code: 'CLOSED' });
  await log.close();
  await closing;
  await store.close();
});

test('it can be slowed down and stopped, and refuses what makes no sense', async () => {
  const path = await closedStore();
  const { store, log } = await open(path);
  const stop = new AbortController();
  const verifying = log.verify({ signal: stop.signal, bytesPerSecond: 1 });
  stop.abort(new Error('enough'));
  await expect(verifying).rejects.toThrow(/enough|abort/);
  await expect(log.verify({ bytesPerSecond: 0 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await expect(log.verify({ speed: 1 } as object)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await store.close();
});
