import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_VARINT_BYTES, sizeOfVarint, VarintReader, writeVarint } from '../../src/record/varint.js';

/** The definition, in BigInt. */
function model(value: number): number[] {
  let rest = BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n));
  const bytes: number[] = [];
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return bytes;
}

const EDGES = [0, 1, -1, 63, 64, -64, -65, 2 ** 30 - 1, 2 ** 30, -(2 ** 30), -(2 ** 30) - 1, 2 ** 31, 2 ** 32].concat([
  Number.MAX_SAFE_INTEGER - 1,
  Number.MIN_SAFE_INTEGER + 1,
]);
const safe = fc.oneof(
  fc.constantFrom(...EDGES),
  fc.integer(),
  fc.integer({ min: -300, max: 300 }),
  fc.maxSafeInteger().filter((n) => Math.abs(n) < Number.MAX_SAFE_INTEGER),
);

describe('varints', () => {
  test('are the bytes that the definition says, of the size announced, and read back', () => {
    fc.assert(
      fc.property(safe, (value) => {
        const buf = new Uint8Array(MAX_VARINT_BYTES);
        const end = writeVarint(buf, 0, value);
        expect([...buf.subarray(0, end)]).toEqual(model(value));
        expect(sizeOfVarint(value)).toBe(end);
        const reader = new VarintReader(buf, 0, end);
        expect(reader.next()).toBe(value);
        expect(reader.pos).toBe(end);
      }),
      { numRuns: 5000 },
    );
  });

  test('that are cut off, too long or too large are CORRUPT_BATCH', () => {
    const bad: number[][] = [
      [],
      [0x80],
      [0xff, 0xff, 0xff, 0xff],
      Array<number>(11).fill(0x80),
      [...Array<number>(9).fill(0xff), 0x01],
    ];
    for (const bytes of bad) {
      const reader = new VarintReader(Uint8Array.from(bytes), 0, bytes.length);
      expect(() => reader.next()).toThrow(expect.objectContaining({ code: 'CORRUPT_BATCH' }));
    }
  });
});
