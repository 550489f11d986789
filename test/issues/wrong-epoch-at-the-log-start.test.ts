// The log's epochs are known from its start on. A batch that begins below it and has a wrong epoch was not found by verify; the
// right one behind it was taken for the damage.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { batchSizeAt } from '../../src/record/record-batch.js';
import { temporaryDirectory } from '../log/crash-image.js';

const MIB = 1024 * 1024;
const OPTIONS = { create: true, journalFileBytes: MIB, journalMaxBytes: 64 * MIB };

test.each([
  ['in', 3],
  ['behind', 10],
])('a wrong epoch is found when the log starts %s its batch', async (_where, start) => {
  const path = temporaryDirectory();
  let store = await openStore(path, OPTIONS);
  let log = await store.openLog('t', 0, { segmentBytes: MIB });
  for (let i = 0; i < 3; i++) {
    await log.append(Array.from({ length: 10 }, () => ({ value: Buffer.alloc(50_000) })));
  }
  await log.deleteBefore(start);
  await store.close();
  const file = join(path, readdirSync(path).find((name) => name.startsWith('t-0.'))!, `${'0'.repeat(20)}.log`);
  const bytes = readFileSync(file);
  bytes.writeInt32BE(77, 12);
  writeFileSync(file, bytes);
  store = await openStore(path, OPTIONS);
  log = await store.openLog('t', 0, { segmentBytes: MIB });
  const { damaged } = await log.verify();
  expect(damaged.map(({ position, endPosition }) => [position, endPosition])).toEqual([[0, batchSizeAt(bytes, 0)]]);
  expect((await log.read(10, { maxBytes: 1 })).records.length).toBe(10);
  await store.close();
});
