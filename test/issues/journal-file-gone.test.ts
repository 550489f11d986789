// A checkpoint names the first journal file that it needs. Replay began with the first file that it found in use, so a
// file that was gone, or whose first blocks read back as zeros, was passed over, and what it alone held with it: records
// that were on disk when they were acknowledged, lost without a word.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { journalFileName } from '../../src/disk/journal-format.js';
import { CHECKPOINT_FILE, decodeCheckpoint } from '../../src/journal/checkpoint.js';
import { openStore } from '../../src/log/store.js';
import { powerCutImage, temporaryDirectory } from '../log/crash-image.js';

const KIB = 1024;
const OPTIONS = { create: true, journalFileBytes: 64 * KIB, checkpointIntervalMs: 3_600_000 };

/** Two logs: the records of the first lie in the first journal file that the checkpoint needs, and nowhere else. */
async function image(rolls: number): Promise<{ path: string; firstFile: string }> {
  const directory = `${temporaryDirectory()}/store`;
  const store = await openStore(directory, OPTIONS);
  const first = await store.openLog('first', 0);
  const second = await store.openLog('second', 0);
  // 4 KiB each for the header and the end of the file, and four groups of 12 KiB.
  for (let i = 0; i < 4; i++) await first.append([{ value: 'x'.repeat(10_000) }]);
  expect(store.stats().journal.fileRolls).toBe(0);
  while (store.stats().journal.fileRolls < rolls) await second.append([{ value: 'x'.repeat(10_000) }]);
  const path = powerCutImage(directory, () => false);
  await store.close();
  const file = join(path, CHECKPOINT_FILE);
  const { journalFile } = decodeCheckpoint(readFileSync(file), file);
  return { path, firstFile: join(path, 'journal', journalFileName(journalFile)) };
}

test('a journal that opens', async () => {
  const { path } = await image(2);
  const store = await openStore(path);
  expect((await store.openLog('first', 0)).end).toBe(4);
  await store.close();
});

test('a missing journal file is refused, and named', async () => {
  const { path, firstFile } = await image(2);
  rmSync(firstFile);
  expect(readdirSync(join(path, 'journal')).length).toBeGreaterThan(1);
  await expect(openStore(path)).rejects.toMatchObject({ code: 'CORRUPT_JOURNAL' });
});

test.each([0, 2])('a journal file that begins with zeros where it was written is refused (%d rolls)', async (rolls) => {
  const { path, firstFile } = await image(rolls);
  const bytes = readFileSync(firstFile);
  bytes.fill(0, 0, 8 * KIB);
  writeFileSync(firstFile, bytes);
  await expect(openStore(path)).rejects.toMatchObject({ code: 'CORRUPT_JOURNAL' });
});
