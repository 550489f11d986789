// What opening does with what a crash, a power cut or bit rot left: the table of docs/DURABILITY.md, fault by fault.
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CHECKPOINT_FILE, decodeCheckpoint, PREVIOUS_CHECKPOINT_FILE } from '../../src/journal/checkpoint.js';
import type { Log } from '../../src/log/log.js';
import { openStore, type Store } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { batchSizeAt } from '../../src/record/record-batch.js';
import { crashImage, powerCutImage, temporaryDirectory } from './crash-image.js';

const MIB = 1024 * 1024;
const STORE_OPTIONS = {
  create: true,
  journalFileBytes: MIB,
  journalMaxBytes: 16 * MIB,
  checkpointIntervalMs: 3_600_000,
};
const LOG_OPTIONS = { segmentBytes: MIB };
const NOTHING = (): boolean => false;
const EVERYTHING = (): boolean => true;

async function open(path: string): Promise<Store> {
  const store = await openStore(path, STORE_OPTIONS);
  return store;
}

/** Appends `count` batches of one record each, with values that say which they are. */
async function append(log: Log, count: number, bytes = 100): Promise<void> {
  const all = [];
  for (let i = 0; i < count; i++) all.push(log.append([{ value: `${log.end}`.padEnd(bytes, '.') }]));
  await Promise.all(all);
}

async function valuesOf(log: Log): Promise<string[]> {
  const values: string[] = [];
  for (let offset = log.start; offset < log.end; ) {
    const { records, nextOffset } = await log.read(offset);
    for (const record of records) values.push(record.value!.toString().replaceAll('.', ''));
    offset = nextOffset;
  }
  return values;
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, i) => String(from + i));
}

function partitionFiles(path: string): { directory: string; files: string[] } {
  const directory = join(path, readdirSync(path).find((name) => name.startsWith('t-0.'))!);
  return { directory, files: readdirSync(directory) };
}

function segmentFile(path: string, index = -1): string {
  const { directory, files } = partitionFiles(path);
  return join(directory, files.filter((name) => name.endsWith('.log')).at(index)!);
}

function damage(file: string, position: number): void {
  const bytes = readFileSync(file);
  bytes[position] = bytes[position]! ^ 0xff;
  writeFileSync(file, bytes);
}

test('everything acknowledged survives kill -9, without a checkpoint', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  await append(log, 500);
  const image = crashImage(path);
  await store.close();

  const again = await open(image);
  const found = await again.openLog('t', 0, LOG_OPTIONS);
  expect(found.recovery).toMatchObject({
    clean: false,
    pageCacheSurvived: true,
    truncatedBytes: 0,
    mayHaveForgotten: false,
  });
  expect(found.recovery.replayedRecords).toBeGreaterThan(0);
  expect(await valuesOf(found)).toEqual(numbers(0, 500));
  await append(found, 10);
  expect(await valuesOf(found)).toEqual(numbers(0, 510));
  await again.close();
});

test('everything acknowledged survives a power cut that loses every byte the segments did not sync', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  await append(log, 100);
  await store.checkpoint();
  await append(log, 300, 10_000);
  const image = powerCutImage(path, NOTHING);
  await store.close();

  const again = await open(image);
  const found = await again.openLog('t', 0, LOG_OPTIONS);
  expect(await valuesOf(found)).toEqual(numbers(0, 400));
  expect(partitionFiles(image).files.filter((name) => name.endsWith('.log')).length).toBeGreaterThan(2);
  await again.close();
});

test('recovery can be cut short and starts over', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  await append(log, 200, 10_000);
  const image = powerCutImage(path, NOTHING);
  await store.close();
  // The first recovery writes the segments and checkpoint; then its checkpoint is lost again.
  const checkpoint = readFileSync(join(image, CHECKPOINT_FILE));
  const journal = readdirSync(join(image, 'journal')).map(
    (name) => [name, readFileSync(join(image, 'journal', name))] as const,
  );
  await (await open(image)).close();
  writeFileSync(join(image, CHECKPOINT_FILE), checkpoint);
  rmSync(join(image, 'clean'));
  for (const name of readdirSync(join(image, 'journal'))) rmSync(join(image, 'journal', name));
  for (const [name, bytes] of journal) writeFileSync(join(image, 'journal', name), bytes);

  const again = await open(image);
  expect(await valuesOf(await again.openLog('t', 0, LOG_OPTIONS))).toEqual(numbers(0, 200));
  await again.close();
});

test('a torn write behind the durable end is cut, and the generation goes up', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  await append(log, 20);
  const { generation } = log;
  const image = crashImage(path);
  await store.close();
  const file = segmentFile(image);
  const bytes = readFileSync(file);
  let end = 0;
  while (bytes.readInt32BE(end + 8) > 0) end += batchSizeAt(bytes, end);
  // The first 100 bytes of a batch that would have come next.
  const builder = new BatchBuilder();
  builder.append(1, null, 'torn'.repeat(50));
  builder.finish().copy(bytes, end, 0, 100);
  bytes.writeBigInt64BE(20n, end);
  writeFileSync(file, bytes);

  const again = await open(image);
  const found = await again.openLog('t', 0, LOG_OPTIONS);
  expect(found.recovery).toMatchObject({ truncatedBytes: 100, damaged: [] });
  expect(found.generation).toBeGreaterThan(generation);
  expect(await valuesOf(found)).toEqual(numbers(0, 20));
  await append(found, 5);
  expect(await valuesOf(found)).toEqual(numbers(0, 25));
  await again.close();
});

test('rot below the durable mark is never cut: the range is reported and refused, the rest is served', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  await append(log, 100);
  await store.checkpoint();
  await append(log, 20);
  const image = crashImage(path);
  await store.close();
  const size = readFileSync(segmentFile(image)).length;
  damage(segmentFile(image), 1000);

  const again = await open(image);
  const found = await again.openLog('t', 0, LOG_OPTIONS);
  expect(found.recovery.damaged).toMatchObject([{ segmentBaseOffset: 0, reason: expect.stringContaining('CRC32C') }]);
  expect(found.end).toBe(120);
  expect(readFileSync(segmentFile(image, 0)).length).toBeLessThanOrEqual(size);
  const { records } = await found.read(0);
  expect(records.length).toBeGreaterThan(0);
  await expect(found.read(records.length)).rejects.toMatchObject({ code: 'CORRUPT_LOG' });
  expect(() => found.viewsFrom(50, 1000)).toThrow(expect.objectContaining({ code: 'CORRUPT_LOG' }));
  expect((await found.read(100)).records.map((record) => record.offset)).toEqual(numbers(100, 120).map(Number));
  await append(found, 3);
  expect((await found.read(115)).records.length).toBe(8);
  await again.close();

  // A clean stop does not make it forget.
  const third = await open(image);
  const later = await third.openLog('t', 0, LOG_OPTIONS);
  expect(later.recovery).toMatchObject({ clean: true, damaged: [{ segmentBaseOffset: 0 }] });
  await expect(later.read(records.length)).rejects.toMatchObject({ code: 'CORRUPT_LOG' });
  expect(later.end).toBe(123);
  await third.close();
});

test('a sealed segment that is gone is damage, not an empty log', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  await append(log, 300, 10_000);
  await store.checkpoint();
  const image = crashImage(path);
  await store.close();
  rmSync(segmentFile(image, 0));

  const again = await open(image);
  const found = await again.openLog('t', 0, LOG_OPTIONS);
  expect(found.recovery.damaged).toMatchObject([{ segmentBaseOffset: 0, position: 0 }]);
  expect([found.start, found.end]).toEqual([0, 300]);
  await expect(found.read(0)).rejects.toMatchObject({ code: 'CORRUPT_LOG' });
  expect((await found.read(299)).records.length).toBe(1);
  await again.close();
});

test('a partition directory that is gone stops the store from opening', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  await append(await store.openLog('t', 0, LOG_OPTIONS), 3);
  const image = crashImage(path);
  await store.close();
  rmSync(partitionFiles(image).directory, { recursive: true });
  await expect(open(image)).rejects.toMatchObject({
    code: 'CORRUPT_LOG',
    message: expect.stringContaining('partition directory'),
  });
});

test('indexes that are missing or do not fit are rebuilt from the log', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  await append(log, 300, 10_000);
  await store.close();
  const { directory, files } = partitionFiles(path);
  const indexes = files.filter((name) => name.endsWith('.index'));
  expect(indexes.length).toBeGreaterThan(2);
  rmSync(join(directory, indexes[0]!));
  writeFileSync(join(directory, indexes[1]!), 'not an index');

  const again = await open(path);
  const found = await again.openLog('t', 0, LOG_OPTIONS);
  for (const offset of [0, 57, 123, 250]) {
    expect((await found.read(offset, { maxBytes: 1 })).records.map((record) => record.offset)).toEqual([offset]);
  }
  expect(found.recovery).toMatchObject({ clean: true, rebuiltIndexes: 2 });
  await again.close();
});

test('an unreadable checkpoint is replaced by the one before it while the journal reaches back to that', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  await append(log, 50);
  await store.checkpoint();
  await append(log, 50);
  await store.checkpoint();
  await append(log, 50);
  const image = crashImage(path);
  await store.close();
  damage(join(image, CHECKPOINT_FILE), 40);

  const again = await open(image);
  expect(await valuesOf(await again.openLog('t', 0, LOG_OPTIONS))).toEqual(numbers(0, 150));
  await again.close();
});

test('an unreadable checkpoint is an error once journal files were recycled', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  await append(log, 50);
  await store.checkpoint();
  await append(log, 300, 10_000);
  await store.checkpoint();
  await append(log, 100, 10_000);
  const image = crashImage(path);
  await store.close();
  damage(join(image, CHECKPOINT_FILE), 40);
  // Recycling is done by a thread: what it would do next is done here.
  const previous = decodeCheckpoint(readFileSync(join(image, PREVIOUS_CHECKPOINT_FILE)), '').journalFile;
  rmSync(join(image, 'journal', `${String(previous).padStart(20, '0')}.wal`), { force: true });
  await expect(open(image)).rejects.toMatchObject({ code: 'CORRUPT_CHECKPOINT' });
});

test('partitions without any checkpoint are an error, not a fresh start', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  await append(await store.openLog('t', 0, LOG_OPTIONS), 3);
  const image = crashImage(path);
  await store.close();
  for (const file of [CHECKPOINT_FILE, PREVIOUS_CHECKPOINT_FILE]) rmSync(join(image, file), { force: true });
  await expect(open(image)).rejects.toMatchObject({ code: 'CORRUPT_CHECKPOINT' });
});

test('a crash between the two renames of a checkpoint is survived', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  await append(await store.openLog('t', 0, LOG_OPTIONS), 30);
  const image = crashImage(path);
  await store.close();
  renameSync(join(image, CHECKPOINT_FILE), join(image, PREVIOUS_CHECKPOINT_FILE));
  const again = await open(image);
  expect(await valuesOf(await again.openLog('t', 0, LOG_OPTIONS))).toEqual(numbers(0, 30));
  await again.close();
});

test('term and vote survive a crash as soon as they are reported durable', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  await new Promise<void>((resolve) => log.saveHardState({ term: 7, vote: 2 }, resolve));
  const image = powerCutImage(path, NOTHING);
  await store.close();
  const again = await open(image);
  expect((await again.openLog('t', 0, LOG_OPTIONS)).hardState).toEqual({ term: 7, vote: 2 });
  await again.close();
});

test('the term never lies below the last epoch of the log', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  const log = await store.openLog('t', 0, { ...LOG_OPTIONS, replicated: true });
  const builder = new BatchBuilder();
  builder.append(1, null, 'x');
  const batch = builder.finish();
  log.appendProduced(batch, 0, batch.length, 5);
  await log.flush();
  const image = crashImage(path);
  await store.close();
  const again = await open(image);
  expect((await again.openLog('t', 0, LOG_OPTIONS)).hardState).toEqual({ term: 5, vote: 0 });
  await again.close();
});

test.each(['async', 'none'] as const)(
  'an unclean stop under flush %s is reported, with whether the page cache survived',
  async (flush) => {
    const path = temporaryDirectory();
    const store = await open(path);
    const log = await store.openLog('t', 0, { ...LOG_OPTIONS, flush });
    await append(log, 50);
    const image = crashImage(path);
    await store.close();

    const again = await open(image);
    const found = await again.openLog('t', 0, { ...LOG_OPTIONS, flush });
    expect(found.recovery).toMatchObject({ clean: false, mayHaveForgotten: true, pageCacheSurvived: true });
    expect(await valuesOf(found)).toEqual(numbers(0, 50));
    await again.close();

    const third = await open(image);
    const later = await third.openLog('t', 0, { ...LOG_OPTIONS, flush: 'sync' });
    expect(later.recovery).toMatchObject({ clean: true, mayHaveForgotten: false });
    await append(later, 1);
    const second = crashImage(image);
    await third.close();
    const fourth = await open(second);
    expect((await fourth.openLog('t', 0, LOG_OPTIONS)).recovery.mayHaveForgotten).toBe(false);
    await fourth.close();
  },
);

test.each([
  ['nothing survives of what was not synced', NOTHING],
  ['everything survives', EVERYTHING],
])(
  'a truncation may meet a crash at any point (%s)',
  async (_name, survives) => {
    const path = temporaryDirectory();
    const store = await open(path);
    const log = await store.openLog('t', 0, { ...LOG_OPTIONS, replicated: true });
    const add = (count: number, epoch: number): void => {
      for (let i = 0; i < count; i++) {
        const builder = new BatchBuilder();
        builder.append(1, null, `${log.end}-${epoch}`);
        const batch = builder.finish();
        log.appendProduced(batch, 0, batch.length, epoch);
      }
    };
    const images: { image: string; allowed: string[][] }[] = [];
    const old = Array.from({ length: 30 }, (_, i) => `${i}-1`);
    const cut = old.slice(0, 10);
    const fresh = [...cut, ...Array.from({ length: 25 }, (_, i) => `${10 + i}-2`)];
    const take = (...allowed: string[][]): void => {
      images.push({ image: powerCutImage(path, survives), allowed });
    };
    add(30, 1);
    await log.flush();
    take(old);
    log.truncate(10);
    take(old, cut);
    add(25, 2);
    take(old, ...fresh.map((_, i) => fresh.slice(0, i + 1)).slice(9));
    await log.flush();
    take(fresh);
    await store.checkpoint();
    take(fresh);
    // At the very base of a segment, whose name is taken.
    log.truncate(10);
    add(5, 3);
    await log.flush();
    const again = [...cut, ...Array.from({ length: 5 }, (_, i) => `${10 + i}-3`)];
    take(again);
    await store.checkpoint();
    take(again);
    await store.close();
    images.push({ image: path, allowed: [again] });

    for (const { image, allowed } of images) {
      const reopened = await open(image);
      const found = await reopened.openLog('t', 0, LOG_OPTIONS);
      expect(allowed).toContainEqual(await valuesOf(found));
      expect(found.recovery.damaged).toEqual([]);
      await append(found, 2);
      await reopened.close();
      const { files } = partitionFiles(image);
      expect(files.filter((name) => name.endsWith('.truncated'))).toEqual([]);
    }
  },
  300_000,
);

test('what was deleted stays deleted after a crash', async () => {
  const path = temporaryDirectory();
  const store = await open(path);
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  await append(log, 400, 10_000);
  await log.deleteBefore(250);
  const image = powerCutImage(path, NOTHING);
  await store.close();

  const again = await open(image);
  const found = await again.openLog('t', 0, LOG_OPTIONS);
  expect([found.start, found.end]).toEqual([250, 400]);
  expect(found.recovery.damaged).toEqual([]);
  expect(await valuesOf(found)).toEqual(numbers(250, 400));
  await expect(found.read(249)).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' });
  expect(existsSync(join(partitionFiles(image).directory, '00000000000000000000.log'))).toBe(false);
  await again.close();
});
