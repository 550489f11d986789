// The CRC of a batch does not cover its epoch. Recovery believed one that had rotted in the segment of the durable mark: the log took
// that term, and the right batches behind it were taken for the damage. And a lookup by timestamp passed over a batch that rot
// had made a control batch.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { batchSizeAt } from '../../src/record/record-batch.js';
import { temporaryDirectory } from '../log/crash-image.js';

const OPTIONS = { create: true, journalFileBytes: 1024 * 1024, journalMaxBytes: 4 * 1024 * 1024 };

/** Three batches, durable in the segment; not closed cleanly. */
async function damagedStore(change: (bytes: Buffer, second: number) => void): Promise<[path: string, size: number]> {
  const path = temporaryDirectory();
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0);
  for (const timestamp of [1000, 2000, 3000]) await log.append([{ value: 'x', timestamp }]);
  await store.close();
  rmSync(join(path, 'clean'));
  const file = join(path, readdirSync(path).find((name) => name.startsWith('t-0.'))!, `${'0'.repeat(20)}.log`);
  const bytes = readFileSync(file);
  const size = batchSizeAt(bytes, 0);
  change(bytes, size);
  writeFileSync(file, bytes);
  return [path, size];
}

test('an epoch that the log never had is damage, and no term', async () => {
  const [path, size] = await damagedStore((bytes, second) => bytes.writeInt32BE(77, second + 12));
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0);
  expect(log.hardState.term).toBe(0);
  expect(log.recovery.damaged).toMatchObject([{ position: size }]);
  expect(log.end).toBe(3);
  expect((await log.read(0)).records.map(({ offset }) => offset)).toEqual([0]);
  await expect(log.read(1)).rejects.toMatchObject({ code: 'CORRUPT_LOG' });
  await store.close();
});

test('a lookup by timestamp does not pass over a batch that rot made a control batch', async () => {
  const [path] = await damagedStore((bytes, second) => bytes.writeInt16BE(0x20, second + 21));
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0);
  await expect(log.offsetForTimestamp(2000)).rejects.toMatchObject({ code: 'CORRUPT_LOG' });
  await store.close();
});
