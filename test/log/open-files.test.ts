// Descriptors do not grow with the number of logs.
import { readdirSync, readlinkSync } from 'node:fs';
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from './crash-image.js';

const KIB = 1024;

/** Of the journal there are a few others. */
const openSegmentFiles = (path: string): number =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return target.startsWith(path) && target.endsWith('.log');
    } catch {
      return false; // The descriptor that lists the others.
    }
  }).length;

test('a store with maxOpenFiles takes that many descriptors for segments, and every log is appended to and read', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, {
    create: true,
    maxOpenFiles: 4,
    journalFileBytes: 256 * KIB,
    journalMaxBytes: 16 * 1024 * KIB,
  });
  const logs = await Promise.all(Array.from({ length: 40 }, (_, i) => store.openLog('t', i)));
  for (let round = 0; round < 3; round++) {
    await Promise.all(logs.map((log, i) => log.append([{ value: `${i}`.repeat(30_000) }])));
    await store.checkpoint();
    expect(openSegmentFiles(path)).toBeLessThanOrEqual(4);
  }
  for (const [i, log] of logs.entries()) {
    const { records } = await log.read(0, { maxBytes: 1024 * KIB });
    expect(records.map((record) => record.value!.toString())).toEqual(Array(3).fill(`${i}`.repeat(30_000)));
  }
  expect(store.stats().segments).toMatchObject({ mappedSegments: 40, openFiles: 4, heldMappings: 0 });
  await store.close();
  expect(openSegmentFiles(path)).toBe(0);
});
