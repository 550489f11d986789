// Looking at data directories: sound, open, torn, rotten and half deleted ones. Nothing is ever changed, and what it says
// that opening would do is what opening does.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { inspectDirectory } from '../../src/inspect/inspect-directory.js';
import type { BatchInspection, DirectoryInspection, InspectOptions } from '../../src/inspect/inspection.js';
import { openStore } from '../../src/log/store.js';
import { batchSizeAt } from '../../src/record/record-batch.js';
import { parsePartitionDirectory } from '../../src/segment/file-names.js';
import { crashImage, powerCutImage, temporaryDirectory } from '../log/crash-image.js';

const MIB = 1024 * 1024;
const OPTIONS = { create: true, journalFileBytes: MIB, journalMaxBytes: 4 * MIB, checkpointIntervalMs: 3_600_000 };
const LOG_OPTIONS = { segmentBytes: MIB };

/** Names, sizes, times and bytes of everything in a directory. */
function fingerprint(directory: string): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort()) {
    const file = join(directory, name);
    const { size, mtimeMs, ctimeMs, mode } = statSync(file);
    hash.update(`${name} ${size} ${mtimeMs} ${ctimeMs} ${mode}\n`);
    if (statSync(file).isFile()) hash.update(readFileSync(file));
  }
  return hash.digest('hex');
}

/** Inspects, and sees to it that nothing was changed. */
async function inspect(directory: string, options?: InspectOptions): Promise<DirectoryInspection> {
  const before = fingerprint(directory);
  const found = await inspectDirectory(directory, options);
  expect(fingerprint(directory)).toBe(before);
  return found;
}

/** Three segments of which two are sealed by a checkpoint, ten small batches behind it; closed or as a crash left it. */
async function fill(close: boolean): Promise<string> {
  const path = temporaryDirectory();
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  for (let i = 0; i < 40; i++) await log.append([{ key: `k${i}`, value: 'x'.repeat(60_000), timestamp: 1000 + i }]);
  await store.checkpoint();
  for (let i = 0; i < 10; i++) await log.append([{ value: `small ${i}`, timestamp: 2000 + i }]);
  if (close) {
    await store.close();
    return path;
  }
  const image = crashImage(path);
  await store.close();
  return image;
}

function partitionOf(directory: string): string {
  return join(directory, readdirSync(directory).find((name) => parsePartitionDirectory(name) !== undefined)!);
}

function fileOf(directory: string, ending: string, index = 0): string {
  const partition = partitionOf(directory);
  return join(partition, readdirSync(partition).filter((name) => name.endsWith(ending))[index]!);
}

function flip(file: string, position: number, mask = 0xff): void {
  const bytes = readFileSync(file);
  bytes[position]! ^= mask;
  writeFileSync(file, bytes);
}

const damageOf = (found: DirectoryInspection) => found.findings.filter(({ severity }) => severity === 'damage');

/** What opening it says. */
async function reportOf(directory: string) {
  const store = await openStore(directory, OPTIONS);
  const { recovery } = await store.openLog('t', 0, LOG_OPTIONS);
  await store.close();
  return recovery;
}

test('a directory that was closed: everything is counted, and everything is right', async () => {
  const found = await inspect(await fill(true));
  expect(found).toMatchObject({ clean: true, openIn: undefined, changing: false, skipped: { segments: 0, bytes: 0 } });
  expect(found.findings).toEqual([]);
  expect(found.cleanMark).toBe(found.checkpoint!.sequence);
  const partition = found.partitions[0]!;
  expect(partition).toMatchObject({ name: 't-0', logStart: 0, end: 50, epochFile: 'right', epochs: [[0, 0]] });
  expect(partition.segments.map(({ state }) => state)).toEqual(['sealed', 'sealed', 'active']);
  expect(partition.segments.reduce((sum, { records }) => sum + records, 0)).toBe(50);
  expect(partition.segments.reduce((sum, { batches }) => sum + batches, 0)).toBe(50);
  expect(partition.segments[0]!.minTimestamp).toBe(1000);
  expect(partition.segments.at(-1)!.maxTimestamp).toBe(2009);
  expect(partition.segments.map(({ seal }) => seal)).toEqual(['right', 'right', 'none']);
  for (const segment of partition.segments) {
    expect(segment).toMatchObject({
      verified: true,
      damaged: [],
      index: { state: 'right' },
      timeIndex: { state: 'right' },
    });
    expect(segment.index.entries).toBeGreaterThan(0);
  }
});

test('a directory that is open: who has it, and what a crash now would leave', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0);
  await log.append([{ value: 'a' }]);
  const found = await inspect(path);
  expect(found).toMatchObject({ openIn: process.pid, changing: false, cleanMark: undefined, clean: false });
  expect(found.findings).toEqual([]);
  expect(found.partitions[0]).toMatchObject({ end: 1, recovery: { replayedRecords: 1 } });
  // It took no lock: the store goes on, and so does another look.
  await log.append([{ value: 'b' }]);
  expect((await inspect(path)).partitions[0]!.end).toBe(2);
  await store.close();
});

test('what it says of recovery is what recovery does: after kill -9, after a power cut, with rot, with a torn write', async () => {
  const killed = await fill(false);
  const cut = powerCutImage(await fill(false), () => false);
  const rotten = await fill(false);
  flip(fileOf(rotten, '.log', 2), 500);
  const torn = await fill(false);
  const last = fileOf(torn, '.log', 2);
  const bytes = readFileSync(last);
  let end = 0;
  while (bytes.readInt32BE(end + 8) > 0) end += batchSizeAt(bytes, end);
  bytes.copy(bytes, end, 0, 100);
  writeFileSync(last, bytes);
  writeFileSync(join(partitionOf(torn), '00000000000000000007.9.log'), 'no part of the log');
  for (const directory of [killed, cut, rotten, torn]) {
    const { recovery } = (await inspect(directory)).partitions[0]!;
    expect(recovery.clean).toBe(false);
    expect(await reportOf(directory)).toEqual(recovery);
  }
});

test('a torn write is a matter for recovery, not damage', async () => {
  const directory = await fill(false);
  const file = fileOf(directory, '.log', 2);
  const bytes = readFileSync(file);
  let end = 0;
  while (bytes.readInt32BE(end + 8) > 0) end += batchSizeAt(bytes, end);
  bytes.copy(bytes, end, 0, 100);
  writeFileSync(file, bytes);
  const found = await inspect(directory);
  expect(damageOf(found)).toEqual([]);
  expect(found.partitions[0]!.recovery.cuts).toMatchObject([{ position: end }]);
});

test('rot in a sealed segment is found, with the place and how far it reaches, and the rest is counted', async () => {
  const directory = await fill(true);
  const file = fileOf(directory, '.log', 0);
  const first = batchSizeAt(readFileSync(file), 0);
  flip(file, first + 100);
  const found = await inspect(directory);
  const [damage, ...others] = damageOf(found);
  expect(others).toEqual([]);
  expect(damage!.where).toMatch(new RegExp(`00000000000000000000\\.log, position ${first}$`));
  expect(damage!.what).toMatch(/CRC32C does not match/);
  const segment = found.partitions[0]!.segments[0]!;
  expect(segment.damaged).toMatchObject([{ from: first, to: 2 * first }]);
  const sound = (await inspect(await fill(true))).partitions[0]!.segments[0]!;
  expect(segment.batches).toBe(sound.batches - 1);
});

test('an epoch that rotted is found by the seal: no CRC covers it', async () => {
  const directory = await fill(true);
  const file = fileOf(directory, '.log', 1);
  // Of the last batch, so that epochs still do not go back.
  const bytes = readFileSync(file);
  const size = (await inspect(directory)).partitions[0]!.segments[1]!.length;
  let last = 0;
  for (let at = 0; at < size; at += batchSizeAt(bytes, at)) last = at;
  flip(file, last + 15, 1);
  const found = await inspect(directory);
  expect(damageOf(found)).toMatchObject([
    { where: expect.stringMatching(/\.seal$/), what: expect.stringContaining('epoch') },
  ]);
  expect(found.partitions[0]!.segments[1]).toMatchObject({ seal: 'wrong', damaged: [] });
});

test('without --verify only what opening looks at is read, and that is said', async () => {
  const directory = await fill(true);
  flip(fileOf(directory, '.log', 0), 100);
  const found = await inspect(directory, { verify: false });
  expect(damageOf(found)).toEqual([]);
  const { segments } = found.partitions[0]!;
  expect(found.skipped).toEqual({ segments: 3, bytes: segments.reduce((sum, { length }) => sum + length, 0) });
  expect(segments[0]).toMatchObject({ verified: false, index: { state: 'unchecked' } });
});

test('an index that contradicts the batches is damage; one that is gone or does not fit is rebuilt', async () => {
  const wrong = await fill(true);
  flip(fileOf(wrong, '.index', 0), 7, 1);
  flip(fileOf(wrong, '.timeindex', 1), 7, 64);
  expect(damageOf(await inspect(wrong)).map(({ where }) => where)).toEqual([
    expect.stringMatching(/00000000000000000000\.index$/),
    expect.stringMatching(/\.timeindex$/),
  ]);
  const gone = await fill(true);
  rmSync(fileOf(gone, '.index', 0));
  writeFileSync(fileOf(gone, '.timeindex', 1), 'no index');
  const found = await inspect(gone);
  expect(damageOf(found)).toEqual([]);
  expect(found.findings.map(({ what }) => what)).toEqual(['there is no such file', 'it does not fit its segment']);
});

test('rot in the journal: opening would be refused, by file and position', async () => {
  const directory = await fill(false);
  const groups: { file: number; position: number }[] = [];
  await inspect(directory, { onGroup: (group) => groups.push(group) });
  const { file, position } = groups.at(-3)!;
  flip(join(directory, 'journal', `${String(file).padStart(20, '0')}.wal`), position + 60);
  const found = await inspect(directory);
  expect(found.clean).toBe(undefined);
  expect(damageOf(found)[0]!.what).toContain(`position ${position}`);
  await expect(openStore(directory, OPTIONS)).rejects.toMatchObject({ code: 'CORRUPT_JOURNAL' });
});

test('a checkpoint that cannot be read is damage, whether or not the one before stands in for it', async () => {
  const directory = await fill(true);
  flip(join(directory, 'checkpoint'), 40);
  const found = await inspect(directory);
  expect(damageOf(found)[0]).toMatchObject({
    where: 'checkpoint',
    what: expect.stringMatching(/CRC32C[^;]*$/),
    advice: expect.stringContaining('checkpoint.previous stands in for it'),
  });
  expect(found.checkpoint).toBe(undefined);
  rmSync(join(directory, 'checkpoint.previous'));
  const lost = await inspect(directory);
  expect(lost.clean).toBe(undefined);
  expect(damageOf(lost)[0]!.what).toMatch(/restore the directory from a backup/);
});

test('half deleted: a partition, a segment or the journal gone is damage, and the rest is shown', async () => {
  const noPartition = await fill(true);
  rmSync(partitionOf(noPartition), { recursive: true });
  expect(damageOf(await inspect(noPartition))[0]!.what).toMatch(/the partition directory t-0\.\w+ is gone/);

  const noSegment = await fill(true);
  rmSync(fileOf(noSegment, '.log', 1));
  const found = await inspect(noSegment);
  expect(damageOf(found)).toMatchObject([{ what: expect.stringContaining('the file is gone') }]);
  expect(found.partitions[0]!.segments.map(({ damaged }) => damaged.length)).toEqual([0, 1, 0]);

  const noJournal = await fill(false);
  rmSync(join(noJournal, 'journal'), { recursive: true });
  expect((await inspect(noJournal)).journal).toMatchObject({ files: [], groups: 0, end: undefined });
});

test('one partition, one offset, its batch', async () => {
  const directory = await fill(true);
  const batches: BatchInspection[] = [];
  const found = await inspect(directory, {
    partition: 't-0',
    offset: 17,
    onBatch: (batch) => void batches.push(batch),
  });
  expect(found.partitions).toHaveLength(1);
  expect(batches).toMatchObject([
    { baseOffset: 17, lastOffset: 17, records: 1, compression: 'none', isControl: false },
  ]);
  await expect(inspectDirectory(directory, { partition: 'u-0' })).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    message: expect.stringContaining('there is t-0'),
  });
});

test('an offset that the partition does not hold is refused, and which ones it holds is said', async () => {
  const directory = await fill(true);
  await expect(inspectDirectory(directory, { partition: 't-0', offset: 50 })).rejects.toMatchObject({
    code: 'OFFSET_OUT_OF_RANGE',
    message: 'there is no offset 50: t-0 holds 0 to 49',
  });
  await expect(inspectDirectory(directory, { partition: 't-0', offset: 49 })).resolves.toMatchObject({ findings: [] });
});

test('after a crash, an index that is not there is not called right: opening would write it', async () => {
  const directory = await fill(false);
  const missing = fileOf(directory, '.log', 2).replace(/\.log$/, '.index');
  rmSync(missing, { force: true });
  const { segments } = (await inspect(directory)).partitions[0]!;
  expect(segments[2]!.index.state).toBe('rebuilt');
  expect(segments[0]!.index.state).toBe('right');
  const store = await openStore(directory, OPTIONS);
  await store.close();
  expect(statSync(missing).size).toBeGreaterThan(0);
  expect((await inspect(directory)).partitions[0]!.segments[2]!.index.state).toBe('right');
});

test('what is no data directory is refused, and nobody is told to make one', async () => {
  const empty = temporaryDirectory();
  await expect(inspectDirectory(empty)).rejects.toMatchObject({
    code: 'DIRECTORY_MISSING',
    message: expect.not.stringContaining('create'),
  });
  await expect(inspectDirectory(join(empty, 'there'))).rejects.toMatchObject({ code: 'DIRECTORY_MISSING' });
  expect(readdirSync(empty)).toEqual([]);
});
