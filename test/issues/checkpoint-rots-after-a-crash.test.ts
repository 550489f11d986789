// An unclean opening raises the generation of every log, and the journal holds no record of that. So when the newest
// checkpoint rotted right afterwards, the one before it did not fit the journal any more, and the store did not open.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CHECKPOINT_FILE } from '../../src/journal/checkpoint.js';
import { openStore } from '../../src/log/store.js';
import { crashImage, temporaryDirectory } from '../log/crash-image.js';

const MIB = 1024 * 1024;
const OPTIONS = { create: true, journalFileBytes: MIB, journalMaxBytes: 16 * MIB, checkpointIntervalMs: 3_600_000 };

function rot(directory: string): string {
  const file = join(directory, CHECKPOINT_FILE);
  const bytes = readFileSync(file);
  bytes[40] = bytes[40]! ^ 0xff;
  writeFileSync(file, bytes);
  return directory;
}

async function appendAll(path: string, count: number): Promise<string> {
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0);
  for (let i = 0; i < count; i++) await log.append([{ value: 'x'.repeat(10_000) }]);
  const image = crashImage(path);
  await store.close();
  return image;
}

async function endOf(path: string): Promise<number> {
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0);
  expect(log.recovery.damaged).toEqual([]);
  const { end } = log;
  await store.close();
  return end;
}

test('the checkpoint before the newest serves right after an unclean opening', async () => {
  const crashed = await appendAll(temporaryDirectory(), 10);
  expect(await endOf(rot(await appendAll(crashed, 5)))).toBe(15);
});

test('the checkpoint before the newest serves after a clean opening whose journal files are used again', async () => {
  const path = temporaryDirectory();
  await appendAll(path, 300);
  expect(await endOf(rot(await appendAll(path, 300)))).toBe(600);
});
