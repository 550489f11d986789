// What a full disk does to segments and to the journal.
import { expect, test } from 'vitest';
import type { JournalSpace } from '../../src/disk/disk.js';
import { JournalReader } from '../../src/disk/journal-reader.js';
import { leave, noSmallDisk, smallDisk } from './small-disk.js';
import { DIRECTORY_ID, openTestDisk, openTestJournal } from './temporary-disk.js';

const KIB = 1024;
const DISK_BYTES = 4096 * KIB;
const withCode = (code: string) => expect.objectContaining({ name: 'VarveError', code });

test.skipIf(noSmallDisk)(
  'a full disk refuses an append with DISK_FULL, changes nothing, and recovers by itself',
  async () => {
    const root = await smallDisk(DISK_BYTES);
    const disk = await openTestDisk(root);
    const segment = disk.createSegment('s.log', { reserveBytes: DISK_BYTES });
    segment.append(Buffer.alloc(60 * KIB, 1), 0, 60 * KIB);
    await leave(root, 16 * KIB);
    const piece = Buffer.alloc(40 * KIB, 2);
    expect(() => segment.append(piece, 0, piece.length)).toThrow(withCode('DISK_FULL'));
    expect(() => segment.append(piece, 0, piece.length)).toThrow(/fallocate of .*s\.log failed/);
    expect(segment.size).toBe(60 * KIB);
    // What still fits into the chunk that is there goes on working.
    segment.append(piece, 0, 4 * KIB);
    await disk.removeFiles(['ballast']);
    expect(segment.append(piece, 0, piece.length)).toBe(64 * KIB);
    expect(segment.view(0, 60 * KIB).equals(Buffer.alloc(60 * KIB, 1))).toBe(true);
    expect(segment.view(64 * KIB, piece.length).equals(piece)).toBe(true);
    segment.close();
    await disk.close();
  },
);

test.skipIf(noSmallDisk)('a journal that cannot make its first file waits for space, and says so', async () => {
  const root = await smallDisk(DISK_BYTES);
  const disk = await openTestDisk(root);
  await disk.makeDirectory('journal');
  await leave(root, 16 * KIB);
  const spaces: JournalSpace[] = [];
  const { journal, durable, failures } = await openTestJournal(disk, {
    fileBytes: 64 * KIB,
    onSpace: (space) => {
      spaces.push(space);
      // The file is tried again and again: space that comes back is found.
      if (space === 'waiting') disk.dropFile('ballast');
    },
  });
  const log = journal.registerLog({ topicId: Buffer.alloc(16, 1), partition: 0 });
  await durable(journal.append(log, 2, 0, 0, Buffer.alloc(10), 'sync'));
  expect(failures).toEqual([]);
  expect(spaces.filter((space) => space !== 'lacking')).toEqual(['waiting', 'enough']);
  await disk.close();
});

test.skipIf(noSmallDisk)('a journal without its first file ends with DISK_FULL when nobody waits', async () => {
  const root = await smallDisk(DISK_BYTES);
  const disk = await openTestDisk(root);
  await disk.makeDirectory('journal');
  await leave(root, 16 * KIB);
  const { failed } = await openTestJournal(disk, { fileBytes: 64 * KIB });
  const closing = disk.close();
  expect(await failed()).toEqual(withCode('DISK_FULL'));
  await expect(closing).rejects.toThrow(withCode('DISK_FULL'));
});

test.skipIf(noSmallDisk)('a journal that cannot make its next file waits for space, and loses nothing', async () => {
  const root = await smallDisk(DISK_BYTES);
  const disk = await openTestDisk(root);
  const { journal, durable, failures } = await openTestJournal(disk, { fileBytes: 64 * KIB });
  const log = journal.registerLog({ topicId: Buffer.alloc(16, 1), partition: 0 });
  await journal.flush();
  await durable(journal.append(log, 2, 0, 0, Buffer.alloc(10), 'sync'));
  await leave(root, 16 * KIB);
  let ticket = 0;
  for (let i = 1; i <= 8; i++) ticket = journal.append(log, 2, 0, i, Buffer.alloc(20 * KIB, i), 'sync');
  // The first file takes two of them.
  await durable(2);
  expect(journal.currentFileNumber).toBe(1);
  expect(journal.stats().pendingBytes).toBeGreaterThan(0);
  await disk.removeFiles(['ballast']);
  await durable(ticket);
  expect(failures).toEqual([]);
  await journal.close();
  const epochs: number[] = [];
  for await (const { epoch } of new JournalReader(disk, 'journal', DIRECTORY_ID).records()) epochs.push(epoch);
  expect(epochs).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  await disk.close();
});

test.skipIf(noSmallDisk)('a group that waits for its file is not durable when the file before it is', async () => {
  const root = await smallDisk(DISK_BYTES);
  const disk = await openTestDisk(root);
  const { journal, durable, reported } = await openTestJournal(disk, { fileBytes: 64 * KIB });
  const log = journal.registerLog({ topicId: Buffer.alloc(16, 1), partition: 0 });
  await durable(journal.append(log, 2, 0, 0, Buffer.alloc(10), 'sync'));
  await leave(root, 16 * KIB);
  // Two that ask for no sync fill the file; the third asks for one and must wait for the next file.
  journal.append(log, 2, 0, 1, Buffer.alloc(20 * KIB), 'none');
  journal.append(log, 2, 0, 2, Buffer.alloc(20 * KIB), 'none');
  const waiting = journal.append(log, 2, 0, 3, Buffer.alloc(30 * KIB), 'sync');
  await durable(waiting - 1);
  expect(reported.at(-1)).toBe(waiting - 1);
  await disk.removeFiles(['ballast']);
  await durable(waiting);
  await disk.close();
});

test.skipIf(noSmallDisk)('a full disk met by a write of the journal itself is final', async () => {
  const root = await smallDisk(DISK_BYTES);
  const disk = await openTestDisk(root);
  const { journal, failed } = await openTestJournal(disk, { fileBytes: 64 * KIB, maxGroupBytes: 4096 * KIB });
  const log = journal.registerLog({ topicId: Buffer.alloc(16, 1), partition: 0 });
  await journal.flush();
  await leave(root, 16 * KIB);
  // Larger than a whole file, so it goes beyond what was allocated.
  journal.append(log, 2, 0, 1, Buffer.alloc(1024 * KIB), 'sync');
  expect(await failed()).toEqual(withCode('DISK_FAILED'));
  await expect(disk.close()).rejects.toThrow(withCode('DISK_FAILED'));
});
