// A read of many batches believed their headers: one whose control bit had flipped was left out, one with another base offset was
// served under wrong offsets, and a page of another file that looked like no batch ended the read early, all without an error.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { batchSizeAt } from '../../src/record/record-batch.js';
import { temporaryDirectory } from '../log/crash-image.js';

const OPTIONS = { create: true, journalFileBytes: 1024 * 1024, journalMaxBytes: 4 * 1024 * 1024 };

/** Three batches of the same size; `change` gets the bytes and where the second one begins. */
async function damagedStore(change: (bytes: Buffer, second: number) => void): Promise<string> {
  const path = temporaryDirectory();
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0);
  for (const value of ['one', 'two', 'six']) await log.append([{ value, timestamp: 1000 }]);
  await store.close();
  const directory = join(path, readdirSync(path).find((name) => name.startsWith('t-0.'))!);
  const file = join(directory, `${'0'.repeat(20)}.log`);
  const bytes = readFileSync(file);
  change(bytes, batchSizeAt(bytes, 0));
  writeFileSync(file, bytes);
  return path;
}

test.each<readonly [string, (bytes: Buffer, second: number) => void]>([
  ['a control bit', (bytes, second) => bytes.writeInt16BE(0x20, second + 21)],
  ['a base offset', (bytes, second) => bytes.writeUInt32BE(7, second + 4)],
  ['an offset that cannot be', (bytes, second) => bytes.writeUInt32BE(0x7777_7777, second)],
  ['a length of nothing', (bytes, second) => bytes.writeInt32BE(-12, second + 8)],
  ['a negative count of offsets', (bytes, second) => bytes.writeInt32BE(-3, second + 23)],
  ['the batch before it', (bytes, second) => bytes.copy(bytes, second, 0, second)],
])('%s where another one was is CORRUPT_LOG, in whatever pieces it is read', async (_what, change) => {
  const path = await damagedStore(change);
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0);
  await expect(log.read(0)).rejects.toMatchObject({ code: 'CORRUPT_LOG' });
  await expect(log.read(0, { isolation: 'read_committed' })).rejects.toMatchObject({ code: 'CORRUPT_LOG' });
  await expect(log.read(1, { maxBytes: 1 })).rejects.toMatchObject({ code: 'CORRUPT_LOG' });
  expect((await log.read(0, { maxBytes: 1 })).records.map(({ offset }) => offset)).toEqual([0]);
  await store.close();
});
