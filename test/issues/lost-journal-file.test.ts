// The checkpoint of an opening names the first journal file before that file is there, so "named, and not in use" is what a
// crash between the two leaves. It was taken for that for ever after: a journal file that was removed, zeroed or cut to
// nothing while it held the only copy of acknowledged records ended the log before them, without a word.
// The same went for a file that the journal had begun after the last checkpoint, when it was the last one: nothing named it.
import { readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { journalFileName } from '../../src/disk/journal-format.js';
import { CHECKPOINT_FILE, type Checkpoint, decodeCheckpoint } from '../../src/journal/checkpoint.js';
import { inspectDirectory } from '../../src/inspect/inspect-directory.js';
import { openStore } from '../../src/log/store.js';
import { crashImage, powerCutImage, temporaryDirectory } from '../log/crash-image.js';
import { Faults, openFailing } from '../log/failing-disk.js';

const KIB = 1024;
const OPTIONS = { create: true, journalFileBytes: 64 * KIB, checkpointIntervalMs: 3_600_000 };

function checkpointOf(path: string): Checkpoint {
  const file = join(path, CHECKPOINT_FILE);
  return decodeCheckpoint(readFileSync(file), file);
}

/** The file that the checkpoint names: the last one in these tests. */
function journalFile(path: string): string {
  return join(path, 'journal', journalFileName(checkpointOf(path).journalFile));
}

async function append(path: string, count: number): Promise<void> {
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0);
  for (let i = 0; i < count; i++) await log.append([{ value: `record ${i}` }]);
  await store.close();
}

/** Opened twice; what the second run acknowledged is in the journal alone. */
async function image(checkpoints = 0): Promise<string> {
  const directory = join(temporaryDirectory(), 'store');
  await append(directory, 1);
  const store = await openStore(directory, OPTIONS);
  const log = await store.openLog('t', 0);
  for (let i = 0; i < checkpoints; i++) {
    await log.append([{ value: 'covered' }]);
    await store.checkpoint();
  }
  for (let i = 0; i < 5; i++) await log.append([{ value: `acknowledged ${i}` }]);
  const path = powerCutImage(directory, () => false);
  await store.close();
  return path;
}

async function endOf(path: string): Promise<number> {
  const store = await openStore(path, OPTIONS);
  const { end } = await store.openLog('t', 0);
  await store.close();
  return end;
}

const LOSSES: readonly [string, (file: string) => void][] = [
  ['gone', (file) => rmSync(file)],
  ['zeroed', (file) => writeFileSync(file, Buffer.alloc(readFileSync(file).length))],
  ['cut to nothing', (file) => truncateSync(file, 0)],
];

test('the records of the second run are in the journal alone', async () => {
  expect(await endOf(await image())).toBe(6);
});

test.each(LOSSES)('a journal file that is %s, and none follows, is refused and named', async (_, lose) => {
  const path = await image();
  const file = journalFile(path);
  lose(file);
  await expect(openStore(path, OPTIONS)).rejects.toMatchObject({
    code: 'CORRUPT_JOURNAL',
    message: expect.stringContaining(file),
  });
  // Nothing was changed by the attempt: with the file, all would be there.
  await expect(openStore(path, OPTIONS)).rejects.toMatchObject({ code: 'CORRUPT_JOURNAL' });
});

test.each(LOSSES)('a journal file that is %s after later checkpoints is refused as well', async (_, lose) => {
  const path = await image(3);
  lose(journalFile(path));
  await expect(openStore(path, OPTIONS)).rejects.toMatchObject({ code: 'CORRUPT_JOURNAL' });
});

/** No checkpoint since the opening, and the journal has gone over to a second file, which holds the last records. */
async function rolledImage(
  modes: readonly ('sync' | 'none')[] = ['sync'],
): Promise<{ path: string; last: string; end: number }> {
  const directory = join(temporaryDirectory(), 'store');
  const store = await openStore(directory, OPTIONS);
  const log = await store.openLog('t', 0);
  const other = await store.openLog('other', 0, { flush: modes.at(-1)! });
  while (store.stats().journal.fileRolls === 0) {
    for (const each of modes.length === 1 ? [log] : [other]) await each.append([{ value: 'x'.repeat(10_000) }]);
  }
  await log.append([{ value: 'acknowledged' }]);
  const path = powerCutImage(directory, () => false);
  const { end } = log;
  await store.close();
  const named = checkpointOf(path).journalFile;
  return { path, last: join(path, 'journal', journalFileName(named + 1)), end };
}

test('the records behind the roll are in the file that no checkpoint names', async () => {
  const { path, last, end } = await rolledImage();
  const names = readdirSync(join(path, 'journal')).sort();
  expect(names.indexOf(journalFileName(checkpointOf(path).journalFile))).toBe(0);
  expect(names).toContain(last.split('/').at(-1));
  expect(await endOf(path)).toBe(end);
});

test.each(LOSSES)(
  'the last journal file, begun after the checkpoint, that is %s is refused and named',
  async (_, lose) => {
    const { path, last } = await rolledImage();
    lose(last);
    const file = last.slice(path.length + 1);
    for (let i = 0; i < 2; i++) {
      await expect(openStore(path, OPTIONS)).rejects.toMatchObject({
        code: 'CORRUPT_JOURNAL',
        message: expect.stringContaining(file),
      });
    }
    const { findings } = await inspectDirectory(path);
    expect(findings).toContainEqual(
      expect.objectContaining({ severity: 'damage', what: expect.stringContaining(file) }),
    );
  },
);

test('the last journal file of which only the first group is gone is refused as well', async () => {
  const { path, last } = await rolledImage();
  const bytes = readFileSync(last);
  bytes.fill(0, 4 * KIB, 8 * KIB);
  writeFileSync(last, bytes);
  await expect(openStore(path, OPTIONS)).rejects.toMatchObject({ code: 'CORRUPT_JOURNAL' });
});

test('a file that rolls under flush none is named by the first sync in it', async () => {
  const { path, last } = await rolledImage(['sync', 'none']);
  rmSync(last);
  await expect(openStore(path, OPTIONS)).rejects.toMatchObject({ code: 'CORRUPT_JOURNAL' });
});

test.each(LOSSES)(
  'varve inspect reports the file that the checkpoint names and that is %s as damage',
  async (_, lose) => {
    const path = await image();
    const file = journalFile(path);
    lose(file);
    const { findings, clean } = await inspectDirectory(path);
    expect(clean).toBeUndefined();
    expect(findings).toContainEqual(
      expect.objectContaining({ severity: 'damage', what: expect.stringContaining(file) }),
    );
  },
);

test('the journal file that was away and is back is read', async () => {
  const path = await image();
  const file = journalFile(path);
  renameSync(file, `${path}.wal`);
  await expect(openStore(path, OPTIONS)).rejects.toMatchObject({ code: 'CORRUPT_JOURNAL' });
  renameSync(`${path}.wal`, file);
  expect(await endOf(path)).toBe(6);
});

test('a crash between the first checkpoint of an opening and the journal opens', async () => {
  const directory = join(temporaryDirectory(), 'store');
  await append(directory, 3);
  const faults = new Faults();
  let checkpoints = 0;
  let crashed = '';
  faults.onCall = (method, path) => {
    if (method !== 'replaceFile' || path !== CHECKPOINT_FILE) return;
    // Before the second one: the image has the first, and the journal file that it names is taken out of it.
    if (++checkpoints === 2) crashed = crashImage(directory);
  };
  const store = await openFailing(directory, faults, OPTIONS);
  await store.close();
  expect(checkpointOf(crashed).journalStarted).toBeUndefined();
  rmSync(journalFile(crashed));
  expect(await endOf(crashed)).toBe(3);
});

test('nothing is handed out before the checkpoint that says that the journal has begun', async () => {
  const directory = join(temporaryDirectory(), 'store');
  await append(directory, 3);
  const faults = new Faults();
  let checkpoints = 0;
  faults.onCall = (method, path) => {
    if (method === 'replaceFile' && path === CHECKPOINT_FILE && ++checkpoints === 2) {
      faults.fail('replaceFile', CHECKPOINT_FILE, 'DISK_FAILED');
    }
  };
  await expect(openFailing(directory, faults, OPTIONS)).rejects.toMatchObject({ code: 'DISK_FAILED' });
  expect(checkpoints).toBe(2);
  expect(await endOf(directory)).toBe(3);
});

test.each(LOSSES)('after a clean stop a journal file that is %s is not missed', async (_, lose) => {
  const path = join(temporaryDirectory(), 'store');
  await append(path, 3);
  const { journalFile: before } = checkpointOf(path);
  lose(journalFile(path));
  await append(path, 2);
  expect(checkpointOf(path).journalFile).toBeGreaterThan(before);
  expect(await endOf(path)).toBe(5);
});

test('a journal directory that is gone is refused after a crash, and made anew after a clean stop', async () => {
  const crashed = await image();
  rmSync(join(crashed, 'journal'), { recursive: true });
  await expect(openStore(crashed, OPTIONS)).rejects.toMatchObject({
    code: 'CORRUPT_JOURNAL',
    message: expect.stringContaining(join(crashed, 'journal')),
  });
  const stopped = join(temporaryDirectory(), 'store');
  await append(stopped, 3);
  rmSync(join(stopped, 'journal'), { recursive: true });
  await append(stopped, 2);
  expect(await endOf(stopped)).toBe(5);
});
