// Segments as a log uses them: nothing of a sealed one is touched before it is read, few of them are mapped, and neither
// eviction nor deletion nor damage to an index ever changes what is read.
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import type { Disk } from '../../src/disk/disk.js';
import { bootId, openDisk } from '../../src/disk/native-disk.js';
import { CHECKPOINT_FILE, decodeCheckpoint } from '../../src/journal/checkpoint.js';
import type { Log } from '../../src/log/log.js';
import { Store } from '../../src/log/partition-store.js';
import { openStore } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { crashImage, temporaryDirectory } from './crash-image.js';

const MIB = 1024 * 1024;
const OPTIONS = { create: true, journalFileBytes: MIB, journalMaxBytes: 64 * MIB, checkpointIntervalMs: 3_600_000 };
const LOG_OPTIONS = { segmentBytes: MIB };

/** Batches of ten records of 10 KB each; a record's timestamp is 1000 + its offset. */
async function append(log: Log, batches: number): Promise<void> {
  const all = [];
  for (let i = 0; i < batches; i++) {
    const base = log.end;
    const records = Array.from({ length: 10 }, (_, j) => ({
      timestamp: 1000 + base + j,
      value: `${base + j}`.padEnd(10_000, '.'),
    }));
    all.push(log.append(records));
  }
  await Promise.all(all);
}

async function expectAllReadable(log: Log): Promise<void> {
  for (let offset = log.start; offset < log.end; offset += 7) {
    const { records } = await log.read(offset, { maxBytes: 1 });
    expect(records[0]?.offset).toBe(offset);
    expect(Number.parseInt(String(records[0]!.value), 10)).toBe(offset);
    expect((await log.offsetForTimestamp(1000 + offset))?.offset).toBe(offset);
  }
}

function logDirectory(path: string): string {
  return join(path, readdirSync(path).find((name) => name.startsWith('t-0.'))!);
}

function filesEnding(path: string, ending: string): string[] {
  const directory = logDirectory(path);
  return readdirSync(directory)
    .filter((name) => name.endsWith(ending))
    .map((name) => join(directory, name));
}

function allFileSizes(path: string): Map<string, number> {
  const files = readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.log'));
  return new Map(files.map((name) => [name, statSync(join(path, name)).size]));
}

/** A closed store whose log t-0 has several sealed segments. */
async function storeOfSealed(batches = 40): Promise<string> {
  const path = temporaryDirectory();
  const store = await openStore(path, OPTIONS);
  await append(await store.openLog('t', 0, LOG_OPTIONS), batches);
  await store.close();
  return path;
}

/** Opens with a disk that counts what is asked of files whose names contain `text`. */
async function openCounting(path: string, text: string): Promise<{ store: Store; calls: string[] }> {
  const calls: string[] = [];
  const real = await openDisk(path);
  const disk = new Proxy(real, {
    get(target, name: keyof Disk & string) {
      const method = target[name] as unknown;
      if (typeof method !== 'function') return method;
      return (...given: unknown[]) => {
        if (typeof given[0] === 'string' && given[0].includes(text)) calls.push(`${name} ${given[0]}`);
        return method.apply(target, given);
      };
    },
  });
  return { store: await Store.open({ disk, path, bootId: bootId() }, OPTIONS), calls };
}

test.each(['clean stop', 'crash'])('opening a log after a %s touches no sealed segment', async (stop) => {
  let path = await storeOfSealed();
  if (stop === 'crash') {
    const store = await openStore(path, OPTIONS);
    await append(await store.openLog('t', 0, LOG_OPTIONS), 1);
    const image = crashImage(path);
    await store.close();
    path = image;
  }
  const first = '00000000000000000000.';
  const { store, calls } = await openCounting(path, first);
  const atOpening = stop === 'clean stop' ? [] : [`fileSize ${calls[0]?.split(' ')[1]}`];
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  const { rebuiltIndexes } = log.recovery;
  expect(calls).toEqual(atOpening);
  expect(store.stats().segments.mapped).toBe(0);
  await log.read(0, { maxBytes: 1 });
  expect(calls.filter((call) => call.startsWith('openSegment')).length).toBe(1);
  expect(calls.some((call) => call.startsWith('readFileSync'))).toBe(false);
  await expectAllReadable(log);
  expect(log.recovery.rebuiltIndexes).toBe(rebuiltIndexes);
  await store.close();
});

test('the checkpoint says what opening needs of a segment', async () => {
  const path = await storeOfSealed();
  const { logs } = decodeCheckpoint(readFileSync(join(path, CHECKPOINT_FILE)), '');
  const rows = logs[0]!.segments;
  expect(rows.length).toBeGreaterThan(3);
  for (const [i, row] of rows.entries()) {
    expect(row.sealed).toBe(i < rows.length - 1 ? true : undefined);
    expect(row.maxTimestamp).toBe(1000 + (rows[i + 1]?.base ?? logs[0]!.end) - 1);
  }
});

test('few segments are mapped, whatever is read, and views outlive their eviction', async () => {
  const path = await storeOfSealed(80);
  const store = await openStore(path, { ...OPTIONS, maxMappedSegments: 2 });
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  const held = [];
  for (let offset = 0; offset < log.end; ) {
    const { views, nextOffset } = await log.readViews(offset, { maxBytes: 300_000 });
    for (const view of views) held.push({ view, copy: Buffer.from(view) });
    expect(store.stats().segments.mapped).toBeLessThanOrEqual(3);
    offset = nextOffset;
  }
  expect(store.stats().segments.evictions).toBeGreaterThan(3);
  await expectAllReadable(log);
  await log.deleteBefore(400);
  for (const { view, copy } of held) expect(view.equals(copy)).toBe(true);
  await store.close();
  for (const { view, copy } of held) expect(view.equals(copy)).toBe(true);
});

test('an evicted log goes on where it ended, and what was not synced is not evicted', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, { ...OPTIONS, maxMappedSegments: 2 });
  const logs = await Promise.all(Array.from({ length: 6 }, (_, i) => store.openLog('t', i, LOG_OPTIONS)));
  for (const log of logs) await append(log, 3);
  expect(store.stats().segments.mapped).toBe(6);
  const { views } = await logs[0]!.readViews(0);
  const copies = views.map((view) => Buffer.from(view));
  for (let round = 0; round < 3; round++) {
    await store.checkpoint();
    expect(store.stats().segments.mapped).toBe(2);
    const sizes = allFileSizes(path);
    for (const log of logs) await append(log, 2);
    // A file that was mapped is never shortened, also when it is mapped again.
    for (const [file, size] of allFileSizes(path)) expect(size).toBeGreaterThanOrEqual(sizes.get(file) ?? 0);
  }
  for (const [i, view] of views.entries()) expect(view.equals(copies[i]!)).toBe(true);
  for (const log of logs) {
    expect(log.end).toBe(90);
    await expectAllReadable(log);
  }
  const image = crashImage(path);
  await store.close();
  const again = await openStore(image, OPTIONS);
  const found = await again.openLog('t', 3, LOG_OPTIONS);
  expect(found.end).toBe(90);
  await expectAllReadable(found);
  await again.close();
});

test.each(['.index', '.timeindex'])('a %s file is never believed', async (ending) => {
  const pristine = await storeOfSealed();
  const file = filesEnding(pristine, ending)[1]!;
  const bytes = readFileSync(file);
  const damages: (Buffer | undefined)[] = [undefined, Buffer.alloc(0), Buffer.alloc(bytes.length)];
  for (let at = 0; at < bytes.length; at += 3) {
    const flipped = Buffer.from(bytes);
    flipped[at] = flipped[at]! ^ (1 << (at % 8));
    damages.push(flipped);
  }
  for (const damage of damages) {
    if (damage === undefined) rmSync(file);
    else writeFileSync(file, damage);
    const store = await openStore(pristine, OPTIONS);
    const log = await store.openLog('t', 0, LOG_OPTIONS);
    // Without anything loaded before: the synchronous path.
    for (let offset = 0; offset < log.end; offset += 31) {
      const { views } = log.viewsFrom(offset, 1);
      expect(views[0]!.readUInt32BE(4)).toBe(offset - (offset % 10));
    }
    await expectAllReadable(log);
    await store.close();
    writeFileSync(file, bytes);
  }
});

test('a sealed segment that is gone or too short fails at its reads, and nothing else does', async () => {
  const path = await storeOfSealed();
  const [first, second] = filesEnding(path, '.log');
  rmSync(first!);
  writeFileSync(second!, readFileSync(second!).subarray(0, 1000));
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  const base = Number.parseInt(second!.split('/').at(-1)!, 10);
  for (const offset of [0, base]) {
    await expect(log.read(offset)).rejects.toMatchObject({ code: 'CORRUPT_LOG' });
    expect(() => log.viewsFrom(offset, 1)).toThrow(expect.objectContaining({ code: 'CORRUPT_LOG' }));
  }
  expect((await log.read(log.end - 1)).records.length).toBe(1);
  await append(log, 20);
  await store.checkpoint();
  expect(store.failed).toBeUndefined();
  await store.close();
});

test('a segment that was rolled or cut holds no space behind its bytes after the next checkpoint; views of what was cut stay', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0, { segmentBytes: 64 * MIB, replicated: true, cleanup: 'compact' });
  const builder = new BatchBuilder();
  builder.append(1, 'k', Buffer.alloc(900_000, 'x'));
  const batch = builder.finish();
  const lastFile = (): string => filesEnding(path, '.log').sort().at(-1)!;
  // Space is prepared on another thread.
  const appendUntilPrepared = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) log.appendProduced(batch, 0, batch.length, 1);
    await vi.waitFor(() => expect(statSync(lastFile()).size).toBeGreaterThan(count * batch.length + 2 * MIB));
  };
  await appendUntilPrepared(4);
  const { views } = log.viewsFrom(3, MIB, 'end');
  const before = Buffer.from(views[0]!);
  log.truncate(3);
  await appendUntilPrepared(3);
  await log.compact();
  await appendUntilPrepared(2);
  await store.checkpoint();
  const stored = [4, 3, 2].map((count) => count * batch.length);
  const held = filesEnding(path, '.log')
    .sort()
    .map((file) => statSync(file).blocks * 512);
  expect(held.length).toBe(3);
  // Whatever was ever stored keeps its space, also behind a cut; what is still appended to keeps all of it.
  for (const [i, bytes] of held.entries()) expect(bytes).toBeGreaterThanOrEqual(stored[i]!);
  for (const i of [0, 1]) expect(held[i]).toBeLessThan(stored[i]! + 128 * 1024);
  expect(held[2]).toBeGreaterThan(stored[2]! + 2 * MIB);
  expect(views[0]!.equals(before)).toBe(true);
  for (let i = 0; i < 12; i++) log.appendProduced(batch, 0, batch.length, 1);
  expect(log.viewsFrom(0, 64 * MIB, 'end').views.reduce((sum, view) => sum + view.length, 0)).toBe(20 * batch.length);
  await store.close();
});
