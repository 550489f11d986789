// What segments cost: descriptors, mappings, bytes of files that are gone.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryDisk } from './temporary-disk.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Of files below `root`, seen from outside. */
function openFilesBelow(root: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return target.startsWith(root) && target.endsWith('.log') ? [target] : [];
    } catch {
      return []; // The descriptor that lists the others.
    }
  });
}

const areasBelow = (root: string): number =>
  readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes(root)).length;

test('300 segments take 16 descriptors, whatever is done with them', async () => {
  const { root, disk } = await temporaryDisk({ maxOpenFiles: 16 });
  const segments = Array.from({ length: 300 }, (_, i) => disk.createSegment(`${i}.log`, { reserveBytes: 4 * MIB }));
  for (let round = 0; round < 3; round++) {
    for (const [i, segment] of segments.entries()) segment.append(Buffer.alloc(50 * KIB, i + round), 0, 50 * KIB);
    expect(openFilesBelow(root).length).toBe(16);
    for (const segment of segments) segment.prepare(10 * KIB);
    await Promise.all(segments.map((segment) => segment.sync()));
    expect(openFilesBelow(root).length).toBeLessThanOrEqual(16);
  }
  expect(disk.stats()).toMatchObject({ mappedSegments: 300, heldMappings: 0, pinnedDeletedBytes: 0 });
  expect(disk.stats().openFiles).toBe(openFilesBelow(root).length);
  for (const [i, segment] of segments.entries()) {
    const expected = Buffer.concat([0, 1, 2].map((round) => Buffer.alloc(50 * KIB, i + round)));
    expect(segment.view(0, segment.size).equals(expected)).toBe(true);
    expect((await disk.readFile(`${i}.log`, 0, segment.size))!.equals(expected)).toBe(true);
  }
  for (const segment of segments) segment.close();
  expect(openFilesBelow(root)).toEqual([]);
});

test('a segment that is written takes one area of address space, one that is read two more, however it grew', async () => {
  const { root, disk } = await temporaryDisk({ maxOpenFiles: 0 });
  const segment = disk.createSegment('s.log', { reserveBytes: 16 * MIB });
  for (let i = 0; i < 20; i++) segment.append(Buffer.alloc(MIB / 4), 0, MIB / 4);
  expect(areasBelow(root)).toBe(1);
  segment.view(0, 1);
  for (let i = 0; i < 20; i++) segment.append(Buffer.alloc(MIB / 4), 0, MIB / 4);
  // The third, of the zeros beyond the file, has no name.
  expect(areasBelow(root)).toBe(2);
});

test('mapped and held segments, and pinned bytes of removed files, are counted', async () => {
  const { disk } = await temporaryDisk();
  const segment = disk.createSegment('s.log', { reserveBytes: MIB });
  segment.append(Buffer.alloc(1000), 0, 1000);
  const unread = disk.createSegment('t.log', { reserveBytes: MIB });
  unread.append(Buffer.alloc(1000), 0, 1000);
  expect(disk.stats()).toEqual({
    mappedSegments: 2,
    mappedBytes: 128 * KIB,
    openFiles: 2,
    heldMappings: 0,
    pinnedDeletedBytes: 0,
  });
  const view = segment.view(0, 1000);
  segment.close();
  unread.close();
  const held = { mappedSegments: 1, mappedBytes: 64 * KIB, openFiles: 0, heldMappings: 1 };
  expect(disk.stats()).toEqual({ ...held, pinnedDeletedBytes: 0 });
  await disk.rename('s.log', 's.log.truncated');
  await disk.removeFiles(['s.log', 't.log']);
  expect(disk.stats()).toEqual({ ...held, pinnedDeletedBytes: 0 });
  await disk.removeFiles(['s.log.truncated']);
  expect(disk.stats()).toEqual({ ...held, pinnedDeletedBytes: 64 * KIB });
  await disk.close();
  expect(disk.stats()).toEqual({ ...held, pinnedDeletedBytes: 64 * KIB });
  expect(view.length).toBe(1000);
});

test('a segment whose file was replaced under its name does not touch the other one', async () => {
  const { root, disk } = await temporaryDisk({ maxOpenFiles: 0 });
  const segment = disk.createSegment('s.log', { reserveBytes: MIB });
  segment.append(Buffer.alloc(1000, 1), 0, 1000);
  await rename(join(root, 's.log'), join(root, 'elsewhere.log'));
  await writeFile(join(root, 's.log'), 'another');
  expect(() => segment.append(Buffer.alloc(100 * KIB), 0, 100 * KIB)).toThrow(/s\.log is not the file/);
  expect((await disk.readFile('s.log'))!.toString()).toBe('another');
  await segment.sync();
  expect(segment.view(0, 1000).equals(Buffer.alloc(1000, 1))).toBe(true);
});
