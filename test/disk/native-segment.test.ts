import { stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { temporaryDisk } from './temporary-disk.js';

const withCode = (code: string) => expect.objectContaining({ name: 'VarveError', code });
const MIB = 1024 * 1024;

const WRITERS = ['mapped', 'pwrite'] as const;

test.each(WRITERS)(
  '%s: what was appended is in the views, before and after the segment grows over them',
  async (writer) => {
    const { disk } = await temporaryDisk();
    const segment = disk.createSegment('s.log', { reserveBytes: 8 * MIB, writer });
    expect(segment.append(Buffer.from('..hello..'), 2, 7)).toBe(0);
    const hello = segment.view(0, 5);
    expect(hello.toString()).toBe('hello');
    const large = Buffer.alloc(5 * MIB, 'abc');
    expect(segment.append(large, 0, large.length)).toBe(5);
    expect(segment.size).toBe(5 + large.length);
    expect(hello.toString()).toBe('hello');
    expect(segment.view(5, large.length).equals(large)).toBe(true);
    expect(segment.view(0, 1).buffer).toBe(hello.buffer);
  },
);

test.each(WRITERS)(
  '%s: any sequence of appends reads back as their concatenation, also after a trimming reopen',
  async (writer) => {
    const { disk } = await temporaryDisk();
    let number = 0;
    const appends = fc.array(fc.uint8Array({ minLength: 1, maxLength: 70_000 }), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(appends, fc.double({ min: 0, max: 1, noNaN: true }), async (pieces, fraction) => {
        const path = `${number++}.log`;
        const options = { reserveBytes: MIB, writer };
        const segment = disk.createSegment(path, options);
        for (const piece of pieces) segment.append(piece, 0, piece.length);
        const all = Buffer.concat(pieces);
        expect(segment.view(0, segment.size).equals(all)).toBe(true);
        await segment.sync();
        segment.close();

        const size = Math.floor(all.length * fraction);
        const again = disk.openSegment(path, { ...options, writable: true, size });
        expect(again.size).toBe(size);
        const last = pieces.at(-1)!;
        expect(again.append(last, 0, last.length)).toBe(size);
        const expected = Buffer.concat([all.subarray(0, size), last]);
        expect(again.view(0, again.size).equals(expected)).toBe(true);
        again.close();
        // On disk: the bytes, then nothing but the zeros of the last chunk.
        const stored = (await disk.readFile(path))!;
        expect(stored.subarray(0, expected.length).equals(expected)).toBe(true);
        expect(stored.subarray(expected.length).every((byte) => byte === 0)).toBe(true);
        await disk.removeFiles([path]);
      }),
      { numRuns: 40 },
    );
  },
);

test('a read-only segment is as long as its file, and refuses appends', async () => {
  const { disk } = await temporaryDisk();
  await disk.writeFile('s.log', 0, Buffer.from('stored'));
  const segment = disk.openSegment('s.log', { reserveBytes: MIB, writable: false });
  expect(segment.size).toBe(6);
  expect(segment.view(1, 3).toString()).toBe('tor');
  expect(() => segment.append(Buffer.from('x'), 0, 1)).toThrow(withCode('INVARIANT_BROKEN'));
  await disk.writeFile('empty.log', 0, Buffer.alloc(0));
  const empty = disk.openSegment('empty.log', { reserveBytes: MIB, writable: false });
  expect(empty.view(0, 0).length).toBe(0);
});

test('views outside the stored bytes are refused', async () => {
  const { disk } = await temporaryDisk();
  const segment = disk.createSegment('s.log', { reserveBytes: MIB });
  segment.append(Buffer.alloc(10), 0, 10);
  for (const [position, length] of [
    [0, 11],
    [10, 1],
    [-1, 2],
    [0, -1],
    [Number.NaN, 1],
  ] as const) {
    expect(() => segment.view(position, length)).toThrow(withCode('INVALID_ARGUMENT'));
  }
  expect(segment.view(10, 0).length).toBe(0);
});

test('bounds of an append are checked, and beyond the reservation nothing changes', async () => {
  const { disk } = await temporaryDisk();
  const segment = disk.createSegment('s.log', { reserveBytes: 100 });
  const source = Buffer.alloc(200);
  expect(() => segment.append(source, 0, 201)).toThrow(withCode('INVALID_ARGUMENT'));
  expect(() => segment.append(source, 5, 4)).toThrow(withCode('INVALID_ARGUMENT'));
  expect(() => segment.append(source, 0, 101)).toThrow(withCode('INVARIANT_BROKEN'));
  expect(segment.size).toBe(0);
  expect(segment.append(source, 0, 100)).toBe(0);
  expect(() => segment.append(source, 0, 1)).toThrow(withCode('INVARIANT_BROKEN'));
});

test('a closed segment refuses everything; views made before stay', async () => {
  const { root, disk } = await temporaryDisk();
  const segment = disk.createSegment('s.log', { reserveBytes: MIB });
  segment.append(Buffer.from('kept'), 0, 4);
  const view = segment.view(0, 4);
  segment.close();
  segment.close();
  segment.prepare(1000);
  expect(() => segment.append(Buffer.from('x'), 0, 1)).toThrow(withCode('CLOSED'));
  expect(() => segment.view(0, 1)).toThrow(withCode('CLOSED'));
  await expect(segment.sync()).rejects.toThrow(withCode('CLOSED'));
  await disk.removeFiles(['s.log']);
  await disk.close();
  expect(view.toString(), root).toBe('kept');
});

test.each(WRITERS)('%s: preparing ahead changes nothing that anybody can see', async (writer) => {
  const { disk } = await temporaryDisk({ maxOpenFiles: 1 });
  const segment = disk.createSegment('s.log', { reserveBytes: 4 * MIB, writer });
  const expected: Buffer[] = [];
  for (let i = 0; i < 300; i++) {
    segment.prepare(i * 10_000);
    const piece = Buffer.alloc(10_000, i);
    segment.append(piece, 0, piece.length);
    expected.push(piece);
  }
  await segment.sync();
  expect(segment.view(0, segment.size).equals(Buffer.concat(expected))).toBe(true);
});

test('touching a range resolves when it is resident, and changes nothing', async () => {
  const { disk } = await temporaryDisk();
  await disk.writeFile('s.log', 0, Buffer.alloc(5 * MIB, 'abc'));
  const segment = disk.openSegment('s.log', { reserveBytes: 5 * MIB, writable: false });
  await Promise.all([segment.touch(0, segment.size), segment.touch(1, 1), segment.touch(segment.size, 0)]);
  expect(segment.poisoned).toBe(false);
  expect(segment.view(0, segment.size).equals(Buffer.alloc(5 * MIB, 'abc'))).toBe(true);
  await expect(segment.touch(1, segment.size)).rejects.toThrow(withCode('INVALID_ARGUMENT'));
  segment.close();
  await expect(segment.touch(0, 1)).rejects.toThrow(withCode('CLOSED'));
});

test('touching pages that are lost ends in a poisoned segment, not in a dead process', async () => {
  const { root, disk } = await temporaryDisk();
  const segment = disk.createSegment('s.log', { reserveBytes: MIB });
  segment.append(Buffer.alloc(200_000, 7), 0, 200_000);
  await segment.touch(0, 200_000);
  expect(segment.poisoned).toBe(false);
  await truncate(join(root, 's.log'), 4096);
  await segment.touch(0, 4096);
  expect(segment.poisoned).toBe(false);
  await segment.touch(0, 200_000);
  expect(segment.poisoned).toBe(true);
});

test('closing the disk settles every touch that waits', async () => {
  const { disk } = await temporaryDisk();
  await disk.writeFile('s.log', 0, Buffer.alloc(5 * MIB, 1));
  const segment = disk.openSegment('s.log', { reserveBytes: 5 * MIB, writable: false });
  const touches = Array.from({ length: 100 }, () => segment.touch(0, segment.size));
  const settled = Promise.allSettled(touches);
  await disk.close();
  for (const touch of await settled) {
    if (touch.status === 'rejected') expect(touch.reason).toEqual(withCode('CLOSED'));
  }
});

test('a page lost under a view reads as zeros and poisons the segment, and the process lives', async () => {
  const { root, disk } = await temporaryDisk();
  const segment = disk.createSegment('s.log', { reserveBytes: MIB });
  segment.append(Buffer.alloc(200_000, 7), 0, 200_000);
  const view = segment.view(0, 200_000);
  expect(segment.poisoned).toBe(false);
  await truncate(join(root, 's.log'), 0);
  expect(view[150_000]).toBe(0);
  expect(segment.poisoned).toBe(true);
  expect(() => segment.append(Buffer.alloc(10), 0, 10)).toThrow(withCode('DISK_FAILED'));
});

test.each(WRITERS)(
  '%s: an ended segment gives back what was allocated behind its bytes, and only that',
  async (writer) => {
    const { disk, root } = await temporaryDisk();
    const segment = disk.createSegment('s.log', { reserveBytes: 64 * MIB, writer });
    const bytes = Buffer.alloc(100_001, 'abc');
    for (let i = 0; i < 60; i++) segment.append(bytes, 0, bytes.length);
    const view = segment.view(0, segment.size);
    const before = await stat(join(root, 's.log'));
    expect(before.blocks * 512).toBeGreaterThanOrEqual(before.size);
    expect(before.size).toBeGreaterThan(segment.size + MIB);
    segment.prepare(8 * MIB);
    await segment.releaseTail();
    const after = await stat(join(root, 's.log'));
    expect(after.size).toBeGreaterThanOrEqual(before.size);
    expect(after.blocks * 512).toBeGreaterThanOrEqual(segment.size);
    expect(after.blocks * 512).toBeLessThan(segment.size + 128 * 1024);
    expect(view.equals(Buffer.concat(Array.from({ length: 60 }, () => bytes)))).toBe(true);
    // All of the mapping can still be read.
    expect(new Uint8Array(view.buffer, segment.size, 8 * MIB).every((byte) => byte === 0)).toBe(true);
    expect(() => segment.append(bytes, 0, 1)).toThrow(withCode('INVARIANT_BROKEN'));
    await segment.sync();
    const stored = (await disk.readFile('s.log'))!;
    expect(stored.subarray(0, segment.size).equals(view)).toBe(true);
  },
);

test('a tail that was kept for those who look at it is not given back', async () => {
  const { disk, root } = await temporaryDisk();
  const bytes = Buffer.alloc(MIB, 'x');
  const segment = disk.createSegment('s.log', { reserveBytes: 4 * MIB });
  segment.append(bytes, 0, MIB);
  const view = segment.view(0, MIB);
  await segment.sync();
  segment.close();
  const again = disk.openSegment('s.log', { reserveBytes: 4 * MIB, size: 10, writable: true, keepTail: true });
  await again.releaseTail();
  expect(view.equals(bytes)).toBe(true);
  expect((await stat(join(root, 's.log'))).blocks * 512).toBeGreaterThanOrEqual(MIB);
});
