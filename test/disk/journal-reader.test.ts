import { beforeAll, expect, test } from 'vitest';
import type { Disk } from '../../src/disk/disk.js';
import { JOURNAL_BLOCK_BYTES, journalFileName } from '../../src/disk/journal-format.js';
import { type JournalEnd, JournalReader } from '../../src/disk/journal-reader.js';
import { DIRECTORY_ID, openTestJournal, withDisk } from './temporary-disk.js';

const KIB = 1024;
const corrupt = expect.objectContaining({ name: 'VarveError', code: 'CORRUPT_JOURNAL' });

/** Journal files in memory, so that thousands of damaged copies can be read. */
type Files = Map<number, Buffer>;

function diskOf(files: Files): Pick<Disk, 'readDirectory' | 'fileSize' | 'readFile'> {
  const find = (path: string) => files.get(Number(/(\d{20})\.wal$/.exec(path)![1]));
  return {
    readDirectory: async () => [...files.keys()].map((n) => ({ name: journalFileName(n), isDirectory: false })),
    fileSize: async (path) => find(path)?.length,
    readFile: async (path, position = 0, length = Number.MAX_SAFE_INTEGER) =>
      Buffer.from(find(path)!.subarray(position, position + length)),
  };
}

interface Reading {
  /** The epoch of each record: tests number their records with it. */
  readonly epochs: number[];
  readonly groups: { fileNumber: number; position: number; lsn: number }[];
  readonly end: JournalEnd | undefined;
}

async function read(files: Files, firstFile = 0): Promise<Reading> {
  const groups = new JournalReader(diskOf(files), 'journal', DIRECTORY_ID).groups(firstFile);
  const result: { -readonly [K in keyof Reading]: Reading[K] } = { epochs: [], groups: [], end: undefined };
  for (;;) {
    const next = await groups.next();
    if (next.done) return Object.assign(result, { end: next.value });
    const { records, ...group } = next.value;
    result.groups.push(group);
    result.epochs.push(...records.map((record) => record.epoch));
  }
}

function copyOf(files: Files): Files {
  return new Map([...files].map(([number, bytes]) => [number, Buffer.from(bytes)]));
}

interface WriteOptions {
  readonly fileBytes: number;
  readonly payloadBytes: number;
  readonly count: number;
  readonly firstFile?: number;
  readonly from?: JournalEnd;
  readonly mode?: 'sync' | 'none';
}

/** What a real journal writes for `count` records, each in a group of its own; epochs number them from the first file × 100. */
function write(options: WriteOptions): Promise<Files> {
  return withDisk((disk) => writeOn(disk, options));
}

async function writeOn(disk: Disk, options: WriteOptions): Promise<Files> {
  const { fileBytes, payloadBytes, count, firstFile = 1, from, mode = 'sync' } = options;
  const { journal, durable } = await openTestJournal(disk, {
    fileBytes,
    // Every record is a group of its own, also when nothing waits for a sync.
    maxGroupBytes: 1,
    firstFileNumber: firstFile,
    startLsn: from?.lsn ?? 0,
    previousChecksum: from?.checksum ?? 0,
  });
  const log = journal.registerLog({ topicId: Buffer.alloc(16, 1), partition: 0 });
  for (let i = 0; i < count; i++) {
    const ticket = journal.append(log, 2, 0, firstFile * 100 + i, Buffer.alloc(payloadBytes, i + 1), mode);
    if (mode === 'sync') await durable(ticket);
  }
  await journal.close();
  const files: Files = new Map();
  for (const { name } of await disk.readDirectory('journal')) {
    files.set(Number(name.slice(0, 20)), (await disk.readFile(`journal/${name}`))!);
  }
  return files;
}

/** Four groups in one file; three small files. Written once, damaged in copies. */
let single: Files;
let several: Files;

beforeAll(async () => {
  single = await write({ fileBytes: 64 * KIB, payloadBytes: 100, count: 4 });
  several = await write({ fileBytes: 20 * KIB, payloadBytes: 3000, count: 8 });
});

test('an undamaged journal reads back whole, file by file, and says where it ends', async () => {
  const one = await read(single);
  expect(one.epochs).toEqual([100, 101, 102, 103]);
  expect(one.groups.map(({ position }) => position)).toEqual([4096, 8192, 12288, 16384]);
  expect(one.end).toMatchObject({ lsn: 4 * 4096, files: [{ fileNumber: 1, startLsn: 0, endLsn: 16384 }] });
  const three = await read(several);
  expect(three.epochs).toEqual([100, 101, 102, 103, 104, 105, 106, 107]);
  expect(three.end!.files).toEqual([
    { fileNumber: 1, startLsn: 0, endLsn: 12288 },
    { fileNumber: 2, startLsn: 12288, endLsn: 24576 },
    { fileNumber: 3, startLsn: 24576, endLsn: 32768 },
  ]);
});

test('reading starts at the file asked for, and an empty or missing journal has no end', async () => {
  expect((await read(several, 3)).epochs).toEqual([106, 107]);
  expect((await read(several, 99)).end).toBeUndefined();
  expect((await read(new Map())).end).toBeUndefined();
  expect((await read(new Map([[1, Buffer.alloc(64 * KIB)]]))).end).toBeUndefined();
});

test('the last group, torn at any byte, is dropped whole', async () => {
  const { groups, end } = await read(single);
  const last = groups.at(-1)!.position;
  const whole = single.get(1)!;
  // What was there before: zeros of a fresh file, or rubbish of an older life.
  for (const fill of [0, 0xa5]) {
    for (let cut = last; cut < last + 4096; cut++) {
      const torn = Buffer.from(whole);
      torn.fill(fill, cut, last + 4096);
      const result = await read(new Map([[1, torn]]));
      const intact = torn.equals(whole);
      expect(result.epochs, `torn at byte ${cut - last}`).toEqual([100, 101, 102, 103].slice(0, intact ? 4 : 3));
      if (!intact) expect(result.end).toMatchObject({ lsn: end!.lsn - 4096 });
    }
  }
});

test('a file that is cut short in its last group ends before it', async () => {
  const { groups } = await read(single);
  const last = groups.at(-1)!.position;
  for (const size of [last, last + 1, last + 47, last + 48, last + 200, last + 4095]) {
    const result = await read(new Map([[1, single.get(1)!.subarray(0, size)]]));
    expect(result.epochs).toEqual([100, 101, 102]);
  }
});

test('a flipped bit in any byte of any group but the last is corruption, by file and position', async () => {
  const { groups } = await read(single);
  for (const { position } of groups.slice(0, -1)) {
    for (let byte = position; byte < position + 4096; byte++) {
      const files = copyOf(single);
      files.get(1)![byte]! ^= 1 << (byte % 8);
      const outcome = await read(files).catch((error: unknown) => error);
      expect(outcome, `byte ${byte}`).toEqual(corrupt);
      if (byte === position) {
        expect((outcome as Error).message).toContain(`${journalFileName(1)}: no valid group at position ${position}`);
      }
    }
  }
});

test('a flipped bit in the last group drops it: it looks like a torn write', async () => {
  const { groups } = await read(single);
  const last = groups.at(-1)!.position;
  for (let byte = last; byte < last + 4096; byte += 5) {
    const files = copyOf(single);
    files.get(1)![byte]! ^= 0x10;
    expect((await read(files)).epochs).toEqual([100, 101, 102]);
  }
});

test('an unreadable file header costs nothing while the first group stands in for it', async () => {
  for (let byte = 0; byte < JOURNAL_BLOCK_BYTES; byte += 3) {
    const files = copyOf(several);
    files.get(2)![byte]! ^= 1;
    expect((await read(files)).epochs, `byte ${byte}`).toHaveLength(8);
  }
});

test('header and first group both unreadable are corruption when later groups or files say they were durable', async () => {
  const first = copyOf(single);
  first.get(1)!.fill(0xee, 10, 5000);
  await expect(read(first)).rejects.toThrow(corrupt);
  const middle = copyOf(several);
  middle.get(2)!.fill(0, 0, 5000);
  await expect(read(middle)).rejects.toThrow(corrupt);
});

/** Where the block is that ends the second of `several`, and says that the third one's first group is on disk. */
const END_AT = 4 * 4096;

test('a file that the end of the one before names is missed: gone, not in use, or without a group that was on disk', async () => {
  const gone = copyOf(several);
  gone.delete(3);
  await expect(read(gone)).rejects.toThrow(/00003\.wal: no valid group at position 4096, but .*00002\.wal says/);
  const unused = copyOf(several);
  unused.get(3)!.fill(0);
  await expect(read(unused)).rejects.toThrow(corrupt);
  const empty = copyOf(several);
  empty.get(3)!.fill(0, 4096);
  await expect(read(empty)).rejects.toThrow(corrupt);
  // The last group of it came after that.
  const torn = copyOf(several);
  torn.get(3)!.fill(0, 8192);
  expect((await read(torn)).epochs).toHaveLength(7);
});

test('the end of a file is right in every byte, or it is none', async () => {
  for (let byte = 0; byte < 48; byte++) {
    const files = copyOf(several);
    files.delete(3);
    files.get(2)![END_AT + byte]! ^= 1;
    expect((await read(files)).epochs, `byte ${byte}`).toHaveLength(6);
  }
});

test('a file whose last groups are bad was whole when its end was written', async () => {
  const files = copyOf(several);
  files.delete(3);
  files.get(2)![END_AT - 4096]! ^= 1;
  await expect(read(files)).rejects.toThrow(/the end of the file, at position 16384/);
});

test('an end of an older life of the file, or of another directory, means nothing', async () => {
  const files = copyOf(several);
  files.delete(3);
  const [first, second] = [files.get(1)!, files.get(2)!];
  first.copy(second, END_AT, END_AT, END_AT + 4096);
  expect((await read(files)).epochs).toHaveLength(6);
});

test('a file that is torn in its header and first group, the last of the chain, is dropped', async () => {
  const { groups } = await read(several);
  const files = copyOf(several);
  // The file before does not name it yet.
  files.get(2)!.fill(0, END_AT);
  const lastFile = files.get(3)!;
  // Only its first group was ever written.
  lastFile.fill(0, groups.at(-1)!.position);
  for (const from of [0, 20, 4095, 4096, 4200]) {
    const torn = new Map(files).set(3, Buffer.from(lastFile).fill(0, from));
    expect((await read(torn)).epochs).toEqual([100, 101, 102, 103, 104, 105]);
  }
});

test('a missing file in the middle, or a cut in one that is not the last, is corruption', async () => {
  const without = copyOf(several);
  without.delete(2);
  await expect(read(without)).rejects.toThrow(corrupt);
  const cut = copyOf(several);
  cut.set(2, cut.get(2)!.subarray(0, 9000));
  await expect(read(cut)).rejects.toThrow(corrupt);
});

test('stale groups of a recycled file are never accepted', async () => {
  // The same bytes under the next number, as a recycled file is before it is written …
  const stale = new Map(single).set(2, Buffer.from(single.get(1)!));
  expect((await read(stale)).epochs).toEqual([100, 101, 102, 103]);
  // … and behind the end of a chain that begins anew in such a file, at the very position where one would go on.
  const { groups } = await read(several);
  const files = copyOf(several);
  const inLast = groups.at(-1)!.position;
  several.get(1)!.copy(files.get(3)!, inLast + 4096, 4096);
  expect((await read(files)).epochs).toEqual([100, 101, 102, 103, 104, 105, 106, 107]);
});

test('a reopened journal continues the chain, over a torn tail that it has left behind', async () => {
  const { groups, end } = await read(single);
  const last = groups.at(-1)!;
  const torn = copyOf(single);
  torn.get(1)!.fill(0, last.position + 60);
  const kept = (await read(torn)).end!;
  expect(kept.lsn).toBe(last.lsn);
  const second = await write({ fileBytes: 64 * KIB, payloadBytes: 50, count: 2, firstFile: 2, from: kept });
  const both = new Map([...torn, ...second]);
  expect((await read(both)).epochs).toEqual([100, 101, 102, 200, 201]);
  // Even if the torn bytes turn out to be readable later, the newer file's word counts.
  expect((await read(new Map([...single, ...second]))).epochs).toEqual([100, 101, 102, 200, 201]);
  // But a file that continues from bytes which cannot be read is proof of a loss.
  const beyond = await write({ fileBytes: 64 * KIB, payloadBytes: 50, count: 1, firstFile: 2, from: end! });
  expect((await read(new Map([...single, ...beyond]))).epochs).toEqual([100, 101, 102, 103, 200]);
  await expect(read(new Map([...torn, ...beyond]))).rejects.toThrow(corrupt);
});

test('an open that writes nothing still carries the end of the chain', async () => {
  const { end } = await read(single);
  const idle = await write({ fileBytes: 64 * KIB, payloadBytes: 1, count: 0, firstFile: 2, from: end! });
  expect((await read(idle)).end).toMatchObject({ lsn: end!.lsn, checksum: end!.checksum });
});

test('groups written without a sync may be torn in any order: only what was known to be durable counts as lost', async () => {
  const files = await write({ fileBytes: 64 * KIB, payloadBytes: 100, count: 4, mode: 'none' });
  const { groups, epochs } = await read(files);
  expect(epochs).toEqual([100, 101, 102, 103]);
  // None of them had been synced when the next one was written.
  for (const [index, { position }] of groups.entries()) {
    const torn = copyOf(files);
    torn.get(1)!.fill(0, position, position + 4096);
    expect((await read(torn)).epochs).toEqual(epochs.slice(0, index));
  }
});

test('a file of another directory is no part of the chain', async () => {
  const other = new JournalReader(diskOf(single), 'journal', Buffer.alloc(16, 9));
  await expect(other.end()).rejects.toThrow(corrupt);
});
