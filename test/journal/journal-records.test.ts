import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  decodeHardState,
  decodeLogStart,
  decodeRelaxed,
  decodeSwap,
  decodeTruncation,
  encodeHardState,
  encodeLogStart,
  encodeRelaxed,
  encodeSwap,
  encodeTruncation,
} from '../../src/journal/journal-records.js';

const offset = fc.maxSafeNat();
const segment = fc.record({ base: offset, tag: offset });
const corrupt = expect.objectContaining({ code: 'CORRUPT_JOURNAL' });

test('every record is read back as it was written', () => {
  fc.assert(
    fc.property(
      fc.record({
        to: offset,
        endSegment: fc.option(segment, { nil: undefined }),
        endLength: offset,
        newTag: offset,
        removed: fc.array(segment, { maxLength: 5 }),
      }),
      (truncation) => {
        expect(decodeTruncation(encodeTruncation(truncation))).toEqual(truncation);
      },
    ),
  );
  fc.assert(
    fc.property(
      fc.record({
        replaced: fc.array(segment, { minLength: 1, maxLength: 5 }),
        tag: offset,
        length: offset,
        end: offset,
        maxTimestamp: fc.oneof(fc.constant(-1), offset),
        tombstonesRemovedTo: offset,
      }),
      (swap) => {
        expect(decodeSwap(encodeSwap(swap))).toEqual(swap);
      },
    ),
  );
  fc.assert(
    fc.property(offset, fc.nat(0xffff_ffff), (term, vote) => {
      expect(decodeHardState(encodeHardState({ term, vote }))).toEqual({ term, vote });
      expect(decodeLogStart(encodeLogStart(term))).toBe(term);
    }),
  );
  expect([decodeRelaxed(encodeRelaxed(true)), decodeRelaxed(encodeRelaxed(false))]).toEqual([true, false]);
});

test('a payload of another size is refused, never guessed at', () => {
  const truncation = encodeTruncation({
    to: 1,
    endSegment: undefined,
    endLength: 0,
    newTag: 0,
    removed: [{ base: 1, tag: 0 }],
  });
  for (let length = 0; length < truncation.length; length++) {
    expect(() => decodeTruncation(truncation.subarray(0, length))).toThrow(corrupt);
  }
  const swap = encodeSwap({
    replaced: [{ base: 0, tag: 0 }],
    tag: 1,
    length: 1,
    end: 1,
    maxTimestamp: -1,
    tombstonesRemovedTo: 0,
  });
  for (let length = 0; length < swap.length; length++) {
    expect(() => decodeSwap(swap.subarray(0, length))).toThrow(corrupt);
  }
  expect(() => decodeHardState(Buffer.alloc(11))).toThrow(corrupt);
  expect(() => decodeLogStart(Buffer.alloc(9))).toThrow(corrupt);
  expect(() => decodeRelaxed(Buffer.alloc(0))).toThrow(corrupt);
  expect(() => decodeLogStart(Buffer.alloc(8, 0xff))).toThrow(corrupt);
});
