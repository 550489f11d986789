/**
 * Compaction found no space for the file that it was writing, to which nobody referred yet, and that was the end of the
 * whole store. And where nothing could be removed, it wrote all of the log to find that out.
 */
import { readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Trace } from '../../src/disk/trace.js';
import type { Log } from '../../src/log/log.js';
import { openStore, type Store } from '../../src/log/store.js';
import { until } from '../cluster/harness.js';
import { leave, noExt4, noSmallDisk, smallDisk, smallExt4 } from '../disk/small-disk.js';
import { temporaryDirectory } from '../log/crash-image.js';

const MIB = 1024 * 1024;
const OPTIONS = { create: true, journalFileBytes: MIB, journalMaxBytes: 4 * MIB, checkpointIntervalMs: 3_600_000 };
const LOG_OPTIONS = { segmentBytes: MIB, cleanup: 'compact' } as const;
const VALUE_BYTES = 50_000;
const COUNT = 50;
const value = (index: number): string => `${index}:`.padEnd(VALUE_BYTES, 'x');

/** Two thirds of the first half have a newer record. */
const keyOf = (index: number): string => (index % 3 === 0 ? `only ${index}` : `key ${index % 25}`);

async function fill(log: Log, key: (index: number) => string): Promise<void> {
  for (let i = 0; i < COUNT; i++) await log.append([{ key: key(i), value: value(i) }]);
}

async function valuesOf(log: Log): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (let offset = log.start; offset < log.end; ) {
    const { records, nextOffset } = await log.read(offset);
    for (const record of records) found.set(String(record.key), String(record.value));
    offset = nextOffset;
  }
  return found;
}

/** Files that a compaction has written: their names have a tag. */
function compactedFiles(path: string): string[] {
  return readdirSync(path, { recursive: true })
    .map(String)
    .filter((name) => name.includes('.1000000'));
}

async function opened(path: string, options: object = {}): Promise<{ readonly store: Store; readonly log: Log }> {
  const store = await openStore(path, { ...OPTIONS, ...options });
  return { store, log: await store.openLog('t', 0, LOG_OPTIONS) };
}

/** Not compacted by itself while it is filled. */
async function filled(
  path: string,
  key: (index: number) => string,
  options: object = {},
): Promise<{ readonly store: Store; readonly log: Log }> {
  const store = await openStore(path, { ...OPTIONS, ...options });
  const log = await store.openLog('t', 0, { segmentBytes: MIB });
  await fill(log, key);
  await store.checkpoint();
  await log.close();
  return { store, log: await store.openLog('t', 0, LOG_OPTIONS) };
}

const FILE_SYSTEMS = [
  { name: 'tmpfs', skip: noSmallDisk, mount: () => smallDisk(16 * MIB) },
  { name: 'ext4', skip: noExt4, mount: () => smallExt4(40 * MIB) },
];

for (const { name, skip, mount } of FILE_SYSTEMS) {
  test.skipIf(skip)(
    `a compaction without space on ${name} changes nothing, and is done when there is some`,
    async () => {
      const root = await mount();
      const path = join(root, 'store');
      const { store, log } = await filled(path, keyOf);
      const before = await valuesOf(log);
      await leave(root, 100 * 1024);
      expect(await log.compact()).toMatchObject({
        end: 'disk-full',
        segmentsAfter: 0,
        reason: expect.stringContaining('.log failed: ENOSPC'),
      });
      expect(store.failed).toBe(undefined);
      expect(store.stats().compaction).toMatchObject({ failures: 1, recordsRemoved: 0 });
      expect(compactedFiles(path)).toEqual([]);
      await new Promise<void>((resolve) => log.saveHardState({ term: 1, vote: 1 }, resolve));

      await rm(join(root, 'ballast'));
      const report = await log.compact();
      expect(report).toMatchObject({ end: 'complete' });
      expect(compactedFiles(path)).not.toEqual([]);
      expect(report.recordsRemoved).toBeGreaterThan(0);
      expect(await valuesOf(log)).toEqual(before);
      await log.append([{ key: 'a', value: 'b' }]);
      await store.close();
      const again = await opened(path);
      expect(again.log.recovery).toMatchObject({ clean: true, damaged: [] });
      expect(await valuesOf(again.log)).toEqual(before.set('a', 'b'));
      await again.store.close();
    },
  );
}

test('a compaction in the background that found no space is tried again after the next checkpoint', async () => {
  const trace = new Trace();
  const store = await openStore(temporaryDirectory(), { ...OPTIONS, trace });
  const log = await store.openLog('t', 0, { ...LOG_OPTIONS, minCleanableDirtyRatio: 0 });
  await fill(log, keyOf);
  trace.fail({ error: 'ENOSPC', call: 1, kinds: ['write'], path: '.1000000000001.log' });
  await store.checkpoint();
  await until('it found no space', () => store.stats().compaction.failures === 1);
  expect([store.failed, store.stats().compaction.recordsRemoved]).toEqual([undefined, 0]);
  await log.append([{ key: 'a', value: 'b' }]);
  await store.checkpoint();
  await until('it was done', () => store.stats().compaction.recordsRemoved > 0);
  expect(store.stats().compaction.failures).toBe(1);
  await store.close();
});

describe('the compacted file', () => {
  test.each([
    { error: 'ENOSPC', kinds: ['sync-begin'] },
    { error: 'EIO', kinds: ['sync-begin'] },
    { error: 'EIO', kinds: ['write'] },
  ] as const)('is the end of the store when $kinds of it fails with $error', async ({ error, kinds }) => {
    const trace = new Trace();
    const { store, log } = await filled(temporaryDirectory(), keyOf, { trace });
    trace.fail({ error, call: 1, kinds, path: '.1000000000001.log' });
    await expect(log.compact()).rejects.toMatchObject({ code: 'DISK_FAILED' });
    expect(trace.injected).toBe(1);
    expect(store.failed).toMatchObject({ code: 'DISK_FAILED' });
    // Everything was durable before.
    await store.close();
  });

  test('is not written where nothing can be removed', async () => {
    const { store, log } = await filled(temporaryDirectory(), (index) => `key ${index}`);
    expect(await log.compact()).toMatchObject({ end: 'complete', recordsRemoved: 0, segmentsAfter: 0 });
    expect(store.stats().compaction).toMatchObject({ bytesWritten: 0, failures: 0 });
    await store.close();
  });

  test('begins with what did not change, however late the first difference is', async () => {
    const path = temporaryDirectory();
    const store = await openStore(path, OPTIONS);
    let log = await store.openLog('t', 0, { segmentBytes: 12 * MIB });
    // The first record of `twice` lies beyond two steps of writing.
    for (let i = 0; i < 200; i++) await log.append([{ key: i === 190 ? 'twice' : `key ${i}`, value: value(i) }]);
    while (log.end < 300) await log.append([{ key: 'twice', value: value(log.end) }]);
    await log.close();
    log = await store.openLog('t', 0, { segmentBytes: 12 * MIB, cleanup: 'compact' });
    const before = await valuesOf(log);
    const report = await log.compact();
    expect(report).toMatchObject({ end: 'complete' });
    expect(report.recordsRemoved).toBeGreaterThan(0);
    expect(store.stats().compaction.bytesWritten).toBe(report.bytesAfter);
    expect(await valuesOf(log)).toEqual(before);
    expect((await log.verify()).damaged).toEqual([]);
    await store.close();
    const again = await openStore(path, OPTIONS);
    expect(await valuesOf(await again.openLog('t', 0))).toEqual(before);
    await again.close();
  });
});
