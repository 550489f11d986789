/**
 * Opening a new log failed after its first segment had been made (too many open files): the segment's name was taken at the
 * next attempt, which failed too, and so did all others until the store was opened again.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { VarveError } from '../../src/errors.js';
import { temporaryDirectory } from '../log/crash-image.js';
import { Faults, openFailing } from '../log/failing-disk.js';

const OPTIONS = { create: true, checkpointIntervalMs: 3_600_000 };

async function storeWithFailedOpening() {
  const path = `${temporaryDirectory()}/store`;
  mkdirSync(path);
  const faults = new Faults();
  const store = await openFailing(path, faults, OPTIONS);
  let created = false;
  faults.onCall = (method) => {
    if (method === 'createSegment') created = true;
    else if (created && method === 'readDirectory') throw new VarveError('DISK_FAILED', 'too many open files');
  };
  await expect(store.openLog('t', 0)).rejects.toMatchObject({ code: 'DISK_FAILED' });
  faults.onCall = () => {};
  return { path, store };
}

test('a log whose opening failed is opened at the next attempt', async () => {
  const { store } = await storeWithFailedOpening();
  expect(store.stats().segments).toMatchObject({ mapped: 0, mappedSegments: 0 });
  const log = await store.openLog('t', 0);
  await log.append([{ value: 'a' }]);
  expect((await log.read(0)).records).toHaveLength(1);
  await store.close();
});

test('a file with bytes that the store does not know is never removed', async () => {
  const { path, store } = await storeWithFailedOpening();
  const directory = join(path, readdirSync(path).find((name) => name.startsWith('t-0.'))!);
  const stranger = join(directory, '00000000000000000007.log');
  writeFileSync(stranger, 'somebody put this here');
  await store.openLog('t', 0);
  expect(readdirSync(directory)).toContain('00000000000000000007.log');
  await store.close();
});
