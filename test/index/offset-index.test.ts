import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { OFFSET_INDEX_ENTRY_BYTES, OffsetIndex } from '../../src/index/offset-index.js';

/** Entries as steps: both columns grow strictly. */
const steps = fc.array(fc.tuple(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 9000 })), {
  maxLength: 200,
});
const base = fc.constantFrom(0, 7, 2 ** 32 - 3, 2 ** 50);

function build(baseOffset: number, deltas: [number, number][]) {
  const index = new OffsetIndex(baseOffset);
  const entries: { offset: number; position: number }[] = [];
  let offset = baseOffset;
  let position = 0;
  for (const [offsetStep, positionStep] of deltas) {
    offset += offsetStep;
    position += positionStep;
    index.append(offset, position);
    entries.push({ offset, position });
  }
  return { index, entries, limits: { baseOffset, endOffset: offset + 1, sizeBytes: position + 100 } };
}

describe('the offset index', () => {
  test('finds the last entry at or below an offset, as a linear search does', () => {
    fc.assert(
      fc.property(base, steps, fc.nat(1_000_000), (baseOffset, deltas, ahead) => {
        const { index, entries } = build(baseOffset, deltas);
        for (const offset of [baseOffset + ahead, ...entries.flatMap((e) => [e.offset - 1, e.offset, e.offset + 1])]) {
          expect(index.lookup(offset)).toBe(entries.findLast((entry) => entry.offset <= offset)?.position ?? 0);
        }
      }),
      { numRuns: 100 },
    );
  });

  test('is the same after a round trip through its bytes', () => {
    fc.assert(
      fc.property(base, steps, (baseOffset, deltas) => {
        const { index, entries, limits } = build(baseOffset, deltas);
        const bytes = index.toBytes();
        expect(bytes).toHaveLength(entries.length * OFFSET_INDEX_ENTRY_BYTES);
        const loaded = OffsetIndex.fromBytes(bytes, limits);
        expect(loaded?.toBytes().equals(bytes)).toBe(true);
        for (const { offset, position } of entries) expect(loaded?.lookup(offset)).toBe(position);
      }),
      { numRuns: 100 },
    );
  });

  test('forgets on truncation what a fresh index of the shorter log would not have', () => {
    fc.assert(
      fc.property(base, steps, fc.nat(300_000), (baseOffset, deltas, cut) => {
        const { index, entries } = build(baseOffset, deltas);
        const end = baseOffset + cut;
        index.truncateTo(end);
        const kept = entries.filter((entry) => entry.offset < end);
        expect(index.count).toBe(kept.length);
        expect(index.lastPosition).toBe(kept.at(-1)?.position ?? 0);
        index.append(Math.max(end, baseOffset + 1), index.lastPosition + 1);
        expect(index.count).toBe(kept.length + 1);
      }),
      { numRuns: 100 },
    );
  });

  test('refuses to load what cannot be the index of the segment', () => {
    const { index, limits } = build(100, [
      [10, 4096],
      [10, 4096],
      [10, 4096],
    ]);
    const bytes = index.toBytes();
    const broken = (edit: (copy: Buffer) => void) => {
      const copy = Buffer.from(bytes);
      edit(copy);
      return OffsetIndex.fromBytes(copy, limits);
    };
    expect(broken(() => {})?.count).toBe(3);
    expect(OffsetIndex.fromBytes(bytes.subarray(0, 23), limits)).toBeUndefined();
    expect(OffsetIndex.fromBytes(bytes, { ...limits, endOffset: 130 })).toBeUndefined();
    expect(OffsetIndex.fromBytes(bytes, { ...limits, sizeBytes: 3 * 4096 })).toBeUndefined();
    expect(broken((copy) => copy.writeUInt32BE(10, 8))).toBeUndefined();
    expect(broken((copy) => copy.writeUInt32BE(4096, 12))).toBeUndefined();
    expect(broken((copy) => copy.fill(0, 0, 8))).toBeUndefined();
    expect(broken((copy) => copy.fill(0, 16, 24))).toBeUndefined();
  });

  test('refuses entries out of order', () => {
    const { index } = build(100, [[10, 4096]]);
    const refused = expect.objectContaining({ code: 'INVARIANT_BROKEN' });
    expect(() => index.append(110, 5000)).toThrow(refused);
    expect(() => index.append(111, 4096)).toThrow(refused);
    expect(() => index.append(100 + 2 ** 32, 5000)).toThrow(refused);
    expect(() => new OffsetIndex(100).append(100, 5000)).toThrow(refused);
  });
});
