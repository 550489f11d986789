// Direct flush: large runs of batches are synced in their segments instead of being copied into the journal.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { DURABLE_MARK_RECORD_TYPE, STORED_RECORD_TYPE } from '../../src/disk/journal-format.js';
import { RecordType } from '../../src/journal/journal-records.js';
import type { Log } from '../../src/log/log.js';
import type { StoreOptions } from '../../src/log/options.js';
import { openStore, type Store } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { crashImage, journalRecords, powerCutImage, temporaryDirectory } from './crash-image.js';

const MIB = 1024 * 1024;
const THRESHOLD = 50_000;
const LARGE = 60_000;
const LOG_OPTIONS = { segmentBytes: MIB };
const NOTHING = (): boolean => false;

/** Marks that nothing else brings along come so late that no test meets them, unless it says otherwise. */
function open(path: string, options: Partial<StoreOptions> = {}): Promise<Store> {
  return openStore(path, {
    create: true,
    journalFileBytes: MIB,
    journalMaxBytes: 16 * MIB,
    checkpointIntervalMs: 3_600_000,
    directFlushBytes: THRESHOLD,
    directMarkMaxMs: 10_000,
    ...options,
  });
}

/** One batch, whose value says its offset and the given name. */
function append(log: Log, name = '', bytes = LARGE): Promise<unknown> {
  return log.append([{ value: `${log.end}${name}`.padEnd(bytes, '.') }]);
}

function produce(log: Log, epoch: number, name = '', bytes = LARGE): void {
  const builder = new BatchBuilder();
  builder.append(1, null, `${log.end}${name}`.padEnd(bytes, '.'));
  const batch = builder.finish();
  log.appendProduced(batch, 0, batch.length, epoch);
}

async function valuesOf(log: Log): Promise<string[]> {
  const values: string[] = [];
  for (let offset = log.start; offset < log.end; ) {
    const { views, nextOffset } = log.viewsFrom(offset, MIB, 'end');
    for (const view of views)
      for (const [value] of view.toString('latin1').matchAll(/\d+[a-z]*(?=\.{50})/g)) values.push(value);
    offset = nextOffset;
  }
  return values;
}

function typesOf(path: string): number[] {
  return journalRecords(path).map((record) => record.type);
}

function segmentFiles(path: string): string[] {
  const directory = join(path, readdirSync(path).find((name) => name.startsWith('t-0.'))!);
  return readdirSync(directory)
    .filter((name) => name.endsWith('.log'))
    .map((name) => join(directory, name));
}

function damage(file: string, position: number): void {
  const bytes = readFileSync(file);
  bytes[position] = bytes[position]! ^ 0xff;
  writeFileSync(file, bytes);
}

test('large appends are synced in their segment and not copied; what the statistics call syncs is the sum of both kinds', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  await append(log);
  const first = store.stats().journal;
  expect([first.directFlushes, first.directBytes]).toEqual([0, 0]);
  for (let i = 0; i < 5; i++) await append(log);
  await append(log, '', 100);
  const { directFlushes, directSyncs, directBytes, syncs, writtenBytes } = store.stats().journal;
  expect([directFlushes, directSyncs]).toEqual([5, 5]);
  expect(directBytes).toBeGreaterThan(5 * LARGE);
  expect(writtenBytes - first.writtenBytes).toBe(4096);
  expect(syncs - first.syncs).toBe(6);
  // The last append brought the mark along.
  expect(typesOf(crashImage(path))).toEqual([STORED_RECORD_TYPE, DURABLE_MARK_RECORD_TYPE, STORED_RECORD_TYPE]);
  await store.close();
});

test('what was flushed directly survives a power cut at once, before its mark is in the journal', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  for (let i = 0; i < 40; i++) await append(log);
  expect(store.stats().journal.directFlushes).toBe(39);
  const image = powerCutImage(path, NOTHING, log.durable);
  expect(typesOf(image)).toEqual([STORED_RECORD_TYPE]);
  expect(segmentFiles(image).length).toBeGreaterThan(2);
  await store.close();

  const again = await open(image);
  const found = await again.openLog('t', 0, LOG_OPTIONS);
  expect(found.recovery).toMatchObject({ damaged: [], truncatedBytes: 0 });
  expect((await valuesOf(found)).length).toBe(40);
  await append(found);
  await append(found);
  expect((await valuesOf(found)).slice(38)).toEqual(['38', '39', '40', '41']);
  await again.close();
});

test('on an idle store the mark is written by itself, and from then on rot in those bytes is damage', async () => {
  const path = temporaryDirectory();
  const store = await open(path, { directMarkMaxMs: 1 });
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  for (let i = 0; i < 3; i++) await append(log);
  await vi.waitFor(() => expect(typesOf(crashImage(path)).at(-1)).toBe(DURABLE_MARK_RECORD_TYPE), 10_000);
  const image = powerCutImage(path, NOTHING, log.durable);
  await store.close();
  damage(segmentFiles(image)[0]!, 2 * LARGE + 1000);

  const again = await open(image);
  const found = await again.openLog('t', 0, LOG_OPTIONS);
  expect(found.end).toBe(3);
  expect(found.recovery.damaged.length).toBe(1);
  await expect(found.read(2)).rejects.toMatchObject({ code: 'CORRUPT_LOG' });
  await again.close();
});

test('until the mark is there, rot looks like a torn write (a documented limit), and nothing before it is lost', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  for (let i = 0; i < 3; i++) await append(log);
  const image = crashImage(path);
  await store.close();
  damage(segmentFiles(image)[0]!, 2 * LARGE + 1000);
  const again = await open(image);
  const found = await again.openLog('t', 0, LOG_OPTIONS);
  expect([found.end, found.recovery.damaged]).toEqual([2, []]);
  await again.close();
});

test('a truncation right after a direct flush: no mark of the old history is ever applied to the new one', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  const log = await store.openLog('t', 0, { ...LOG_OPTIONS, replicated: true });
  const images: { image: string; values: string[] }[] = [];
  const take = (...values: string[]): void => {
    images.push({ image: powerCutImage(path, NOTHING, log.durable), values });
  };
  for (let i = 0; i < 4; i++) {
    produce(log, 1, 'a');
    await log.flush();
  }
  take('0a', '1a', '2a', '3a');
  log.truncate(2);
  await log.flush();
  take('0a', '1a');
  for (let i = 0; i < 3; i++) {
    produce(log, 2, 'b');
    await log.flush();
  }
  take('0a', '1a', '2b', '3b', '4b');
  log.truncate(2);
  for (let i = 0; i < 2; i++) {
    produce(log, 3, 'c');
    await log.flush();
  }
  take('0a', '1a', '2c', '3c');
  expect(store.stats().journal.directFlushes).toBeGreaterThanOrEqual(5);
  await store.checkpoint();
  take('0a', '1a', '2c', '3c');
  produce(log, 3, 'c');
  await log.flush();
  log.truncate(4);
  await log.flush();
  take('0a', '1a', '2c', '3c');
  await store.close();

  // In the stream a mark stands before the truncation that cuts what it speaks of.
  const order = journalRecords(images[2]!.image).map(({ type, generation }) => `${type}.${generation}`);
  const mark = `${DURABLE_MARK_RECORD_TYPE}.0`;
  expect(order.indexOf(mark)).toBeGreaterThan(0);
  expect(order.indexOf(mark)).toBeLessThan(order.indexOf(`${RecordType.Truncation}.1`));
  expect(order.lastIndexOf(mark)).toBeLessThan(order.indexOf(`${RecordType.Truncation}.1`));

  for (const { image, values } of images) {
    const again = await open(image);
    const found = await again.openLog('t', 0, LOG_OPTIONS);
    expect(await valuesOf(found)).toEqual(values);
    expect(found.recovery.damaged).toEqual([]);
    await again.close();
  }
});

test('an acknowledgement by direct flush covers what was written before it without a sync, in any log', async () => {
  const path = temporaryDirectory();
  const store = await open(path, { journalFileBytes: 8 * MIB });
  const relaxed = await store.openLog('r', 0, { ...LOG_OPTIONS, flush: 'none' });
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  await append(log);
  await append(relaxed, '', 3 * LARGE);
  const { syncs, directSyncs } = store.stats().journal;
  // The relaxed batches are written without a sync once a MiB of them is pending.
  for (let i = 0; i < 40; i++) await append(relaxed);
  await vi.waitFor(() => expect(store.stats().journal.writtenBytes).toBeGreaterThan(MIB), 10_000);
  expect(store.stats().journal.syncs).toBe(syncs);
  await append(log);
  expect(relaxed.durable).toBe(relaxed.end);
  const after = store.stats().journal;
  expect(after.directSyncs).toBeGreaterThan(directSyncs);
  expect(after.syncs - after.directSyncs).toBeGreaterThan(syncs - directSyncs);
  await store.close();
});

test('leader epochs within and between direct flushes are found again', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  const log = await store.openLog('t', 0, { ...LOG_OPTIONS, replicated: true });
  for (const epoch of [1, 1, 1, 3, 3, 3, 4, 7, 7, 7, 7]) {
    produce(log, epoch);
    await log.flush();
  }
  expect(store.stats().journal.directFlushes).toBe(7);
  const epochs = Array.from({ length: 11 }, (_, offset) => log.epochAt(offset));
  const images = [powerCutImage(path, NOTHING, log.durable)];
  log.saveHardState({ term: 8, vote: 1 }, () => {});
  await log.flush();
  images.push(powerCutImage(path, NOTHING, log.durable));
  await store.close();
  for (const image of images) {
    const again = await open(image);
    const found = await again.openLog('t', 0, LOG_OPTIONS);
    expect(Array.from({ length: 11 }, (_, offset) => found.epochAt(offset))).toEqual(epochs);
    expect((await valuesOf(found)).length).toBe(11);
    await again.close();
  }
});

test('marks that a checkpoint covers are passed over, also when it was captured between direct flush and mark', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  for (let i = 0; i < 5; i++) await append(log);
  await store.checkpoint();
  await append(log, '', 100);
  expect(typesOf(crashImage(path))).toEqual([STORED_RECORD_TYPE, DURABLE_MARK_RECORD_TYPE, STORED_RECORD_TYPE]);
  // Captured between two appends that one direct flush covers.
  const appends = [append(log), append(log)];
  const checkpoint = store.checkpoint();
  appends.push(append(log), append(log));
  await Promise.all([...appends, checkpoint]);
  await append(log, '', 100);
  const image = powerCutImage(path, NOTHING, log.durable);
  await store.close();
  const again = await open(image);
  const found = await again.openLog('t', 0, LOG_OPTIONS);
  expect((await valuesOf(found)).length).toBe(11);
  expect(found.recovery.damaged).toEqual([]);
  await again.close();
});

test('bytes of direct flushes are no journal bytes: they neither hasten checkpoints nor fill the journal', async () => {
  const store = await open(temporaryDirectory(), { journalMaxBytes: 4 * MIB });
  const log = await store.openLog('t', 0, { segmentBytes: 64 * MIB });
  await append(log);
  for (let i = 0; i < 100; i++) await append(log, '', 200_000);
  const { checkpoints, uncoveredJournalBytes, journal } = store.stats();
  expect(journal.directBytes).toBeGreaterThan(16 * MIB);
  expect(checkpoints).toBe(0);
  expect(uncoveredJournalBytes).toBeLessThan(MIB);
  await store.checkpoint();
  expect(store.stats().uncoveredJournalBytes).toBeLessThan(100_000);
  await store.close();
});

test('a store that is closed after a direct flush opens clean', async () => {
  const path = temporaryDirectory();
  for (let round = 0; round < 3; round++) {
    const store = await open(path);
    const log = await store.openLog('t', 0, LOG_OPTIONS);
    expect(log.recovery).toMatchObject({ clean: true, damaged: [] });
    for (let i = 0; i < 3; i++) await append(log);
    await store.close();
  }
  const store = await open(path);
  expect((await valuesOf(await store.openLog('t', 0, LOG_OPTIONS))).length).toBe(9);
  await store.close();
});
