// A store that failed during a compaction in the background began that compaction again and again.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryDirectory } from '../log/crash-image.js';
import { Faults, openFailing } from '../log/failing-disk.js';

const MIB = 1024 * 1024;

test('nothing is compacted any more once the store has failed', async () => {
  const faults = new Faults();
  const store = await openFailing(temporaryDirectory(), faults, {
    create: true,
    journalFileBytes: MIB,
    journalMaxBytes: 4 * MIB,
    checkpointIntervalMs: 3_600_000,
  });
  const log = await store.openLog('t', 0, { cleanup: 'compact', segmentBytes: MIB });
  for (let i = 0; i < 12; i++) await log.append([{ key: `key ${i % 2}`, value: 'x'.repeat(100_000) }]);
  let written = 0;
  const compactedFile = new Promise<void>((resolve) => {
    faults.check = (method, path) => {
      if (method !== 'writeFile' || !String(path).includes('.1000000000001.')) return;
      written++;
      faults.failJournal('fdatasync: input/output error');
      resolve();
    };
  });
  await store.checkpoint();
  await compactedFile;
  // What a pass does to the disk, many times over: it would have begun again by then.
  const directory = temporaryDirectory();
  for (let i = 0; i < 100; i++) await writeFile(join(directory, 'file'), 'x', { flush: true });
  expect(store.failed).toMatchObject({ code: 'DISK_FAILED' });
  expect(written).toBe(1);
  await store.close();
});
