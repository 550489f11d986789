import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { crc32c, crc32cImplementation, scanBatches } from '../../src/disk/addon.js';
import { SCAN_STRIDE } from '../../src/disk/batch-scan.js';
import { temporaryDirectory } from './temporary-disk.js';

/** The definition, bit by bit. */
function reference(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

/** A batch as small as they come: one record of no bytes, which is enough for a scan. */
function batch(baseOffset: number, epoch = 0): Buffer {
  const bytes = Buffer.alloc(62);
  bytes.writeBigInt64BE(BigInt(baseOffset), 0);
  bytes.writeInt32BE(50, 8);
  bytes.writeInt32BE(epoch, 12);
  bytes[16] = 2;
  bytes.writeBigInt64BE(1234n, 35);
  bytes.writeInt32BE(1, 57);
  bytes.writeUInt32BE(reference(bytes.subarray(21)), 17);
  return bytes;
}

test('CRC-32C is the one of RFC 3720, by the fastest implementation of this processor', () => {
  expect(crc32c(Buffer.from('123456789'), 0, 9)).toBe(0xe3069283);
  expect(crc32c(Buffer.alloc(32), 0, 32)).toBe(0x8a9136aa);
  expect(['sse4.2', 'armv8', 'table']).toContain(crc32cImplementation());
});

test('a CRC of any range agrees with the definition and continues from any cut', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 4000 }), fc.nat(4000), fc.nat(4000), (bytes, a, b) => {
      const [start, end] = [Math.min(a, b, bytes.length), Math.min(Math.max(a, b), bytes.length)];
      expect(crc32c(bytes, start, end)).toBe(reference(bytes.subarray(start, end)));
      const cut = Math.floor((start + end) / 2);
      expect(crc32c(bytes, cut, end, crc32c(bytes, start, cut))).toBe(crc32c(bytes, start, end));
    }),
  );
});

test('a scan reports each batch as its row of numbers, from any position', () => {
  const bytes = Buffer.concat([Buffer.from('head'), batch(7, 3), batch(8, 4)]);
  const { end, validEnd, batches } = scanBatches(bytes, 4, bytes.length, 7, 3, 100);
  expect({ end, validEnd }).toEqual({ end: 'complete', validEnd: bytes.length });
  expect([...batches]).toEqual([4, 62, 7, 7, 3, 1234, 66, 62, 8, 8, 4, 1234]);
  expect(batches.length).toBe(2 * SCAN_STRIDE);
});

test('a scan says why it stopped', () => {
  const good = batch(0);
  const flipped = Buffer.from(good);
  flipped[61]! ^= 1;
  const oldMagic = Buffer.from(good);
  oldMagic[16] = 1;
  const endOf = (bytes: Buffer, expected = 0) => scanBatches(bytes, 0, bytes.length, expected, 0, 100).end;
  expect(endOf(Buffer.concat([good, Buffer.alloc(100)]))).toBe('short');
  expect(endOf(good.subarray(0, 61))).toBe('short');
  expect(endOf(flipped)).toBe('bad-crc');
  expect(endOf(oldMagic)).toBe('malformed');
  expect(endOf(good, 1)).toBe('out-of-order');
});

test('a range outside the bytes, or no bytes at all, is INVALID_ARGUMENT', () => {
  const bytes = Buffer.alloc(10);
  const invalid = expect.objectContaining({ name: 'VarveError', code: 'INVALID_ARGUMENT' });
  expect(() => crc32c(bytes, 0, 11)).toThrow(invalid);
  expect(() => crc32c(bytes, 5, 4)).toThrow(invalid);
  expect(() => crc32c(bytes, -1, 4)).toThrow(invalid);
  expect(() => crc32c(bytes, Number.NaN, 4)).toThrow(invalid);
  expect(() => crc32c('text' as never, 0, 1)).toThrow(invalid);
  expect(() => crc32c(new Float64Array(4) as never, 0, 1)).toThrow(invalid);
  expect(() => scanBatches(bytes, 0, 11, 0, 0, 1)).toThrow(invalid);
});

test('a build that is missing or broken is told from a platform that is not supported', async () => {
  const root = await temporaryDirectory();
  const source = await readFile(new URL('../../src/disk/addon.ts', import.meta.url), 'utf8');
  const copy = join(root, 'addon.ts');
  await writeFile(join(root, 'package.json'), '{"name": "varve", "type": "module"}');
  await writeFile(copy, source.replace("'../errors.js'", `'${new URL('../../src/errors.ts', import.meta.url).href}'`));
  const { crc32c: unbuilt } = (await import(/* @vite-ignore */ copy)) as { crc32c: typeof crc32c };
  expect(() => unbuilt(Buffer.alloc(1), 0, 1)).toThrow(
    expect.objectContaining({
      code: 'UNSUPPORTED_PLATFORM',
      message: expect.stringContaining('npm run build:native') as string,
    }),
  );
});
