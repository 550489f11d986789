// A journal file that had been replaced by a link to it was read, kept as a spare, renamed, and could not be opened then: from
// the second opening on the store was refused. A directory of such a name did the same at once.
import { mkdirSync, readdirSync, renameSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { journalFileName } from '../../src/disk/journal-format.js';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from '../log/crash-image.js';

const OPTIONS = { create: true, journalFileBytes: 64 * 1024 };

async function append(path: string): Promise<number> {
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0);
  await log.append([{ value: 'a record' }]);
  await store.close();
  return log.end;
}

function firstJournalFile(path: string): string {
  return join(path, 'journal', readdirSync(join(path, 'journal')).sort()[0]!);
}

test('a link in place of a spare journal file is left alone', async () => {
  const path = join(temporaryDirectory(), 'store');
  await append(path);
  const file = firstJournalFile(path);
  renameSync(file, `${path}.wal`);
  symlinkSync(`${path}.wal`, file);
  expect([await append(path), await append(path), await append(path)]).toEqual([2, 3, 4]);
  expect(firstJournalFile(path)).toBe(file);
});

test('a directory that has the name of a journal file is left alone', async () => {
  const path = join(temporaryDirectory(), 'store');
  await append(path);
  mkdirSync(join(path, 'journal', journalFileName(0)));
  expect([await append(path), await append(path)]).toEqual([2, 3]);
});
