// A spare that had its new name but could not be opened (too many open files, say) was forgotten: the next attempt found a
// file of that name, took it for one in use, and the journal ended with INVARIANT_BROKEN.
import { expect, test } from 'vitest';
import { journalFileName } from '../../src/disk/journal-format.js';
import { openDisk } from '../../src/disk/native-disk.js';
import { Trace } from '../../src/disk/trace.js';
import { openTestJournal, temporaryDirectory } from '../disk/temporary-disk.js';

test('a spare that cannot be opened ahead of need is opened when it is needed', async () => {
  const trace = new Trace();
  const disk = await openDisk(await temporaryDirectory(), { trace });
  await disk.makeDirectory('journal');
  const spareFiles = [1, 2, 3].map(journalFileName);
  for (const name of spareFiles) await disk.writeFile(`journal/${name}`, 0, Buffer.alloc(20_480));
  trace.fail({ error: 'EIO', call: 1, kinds: ['open'], path: journalFileName(5) });
  const { journal, durable, failures } = await openTestJournal(disk, {
    firstFileNumber: 4,
    fileBytes: 20_480,
    spareFiles,
  });
  const log = journal.registerLog({ topicId: Buffer.alloc(16, 1), partition: 0 });
  // The first group fills a quarter of the file, which is when the next one is asked for; the third does not fit any more.
  for (let i = 0; i < 6; i++) await durable(journal.append(log, 2, 0, 0, Buffer.alloc(3000), 'sync'));
  expect(trace.injected).toBe(1);
  expect(failures).toEqual([]);
  expect(journal.currentFileNumber).toBe(5);
  await journal.close();
  await disk.close();
});
