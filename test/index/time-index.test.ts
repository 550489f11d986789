import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TIME_INDEX_ENTRY_BYTES, TimeIndex } from '../../src/index/time-index.js';

/** Batches: number of records and the largest timestamp in each; times go back and forth as producers' clocks do. */
const batches = fc.array(
  fc.record({ records: fc.integer({ min: 1, max: 50 }), time: fc.integer({ min: -1, max: 2000 }) }),
  { maxLength: 120 },
);
const base = fc.constantFrom(0, 9, 2 ** 45);

function build(baseOffset: number, input: { records: number; time: number }[]) {
  const index = new TimeIndex(baseOffset);
  const log: { first: number; last: number; time: number }[] = [];
  let next = baseOffset;
  for (const { records, time } of input) {
    const last = next + records - 1;
    log.push({ first: next, last, time });
    index.append(time, last);
    next = last + 1;
  }
  return { index, log, limits: { baseOffset, endOffset: next } };
}

describe('the time index', () => {
  test('never starts a search behind the first batch that is young enough, and skips what it can', () => {
    fc.assert(
      fc.property(base, batches, fc.integer({ min: -1, max: 2100 }), (baseOffset, input, time) => {
        const { index, log } = build(baseOffset, input);
        const start = index.lookup(time);
        const answer = log.find((batch) => batch.time >= time);
        if (answer) expect(start).toBeLessThanOrEqual(answer.last);
        // With an entry per batch, it starts at the last batch that raised the maximum and is still too old.
        const older = log.filter((batch, i) => batch.time < time && log.slice(0, i).every((b) => b.time < batch.time));
        const nearest = older.filter((batch) => !answer || batch.last < answer.first).at(-1);
        expect(start).toBe(nearest?.last ?? baseOffset);
      }),
      { numRuns: 300 },
    );
  });

  test('is the same after a round trip through its bytes', () => {
    fc.assert(
      fc.property(base, batches, (baseOffset, input) => {
        const { index, limits } = build(baseOffset, input);
        const bytes = index.toBytes();
        expect(bytes).toHaveLength(index.count * TIME_INDEX_ENTRY_BYTES);
        const loaded = TimeIndex.fromBytes(bytes, limits);
        expect(loaded?.toBytes().equals(bytes)).toBe(true);
        for (let time = -1; time < 2000; time += 97) expect(loaded?.lookup(time)).toBe(index.lookup(time));
      }),
      { numRuns: 100 },
    );
  });

  test('after a truncation is the index of the batches that are left', () => {
    fc.assert(
      fc.property(base, batches, fc.nat(120), (baseOffset, input, keep) => {
        const { index, log } = build(baseOffset, input);
        index.truncateTo(log[keep]?.first ?? Number.MAX_SAFE_INTEGER);
        expect(index.toBytes().equals(build(baseOffset, input.slice(0, keep)).index.toBytes())).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  test('has entries only where the largest timestamp grew', () => {
    const { index } = build(
      0,
      [5, 5, 3, 8, 7].map((time) => ({ records: 2, time })),
    );
    expect(index.count).toBe(2);
    expect(index.lastTimestamp).toBe(8);
  });

  test('refuses to load what cannot be the index of the segment', () => {
    const { index, limits } = build(
      50,
      [5, 9, 12].map((time) => ({ records: 10, time })),
    );
    const bytes = index.toBytes();
    const broken = (edit: (copy: Buffer) => void) => {
      const copy = Buffer.from(bytes);
      edit(copy);
      return TimeIndex.fromBytes(copy, limits);
    };
    expect(broken(() => {})?.count).toBe(3);
    expect(TimeIndex.fromBytes(bytes.subarray(0, 35), limits)).toBeUndefined();
    expect(TimeIndex.fromBytes(bytes, { ...limits, endOffset: 79 })).toBeUndefined();
    expect(broken((copy) => copy.fill(0, 12, 24))).toBeUndefined();
    expect(broken((copy) => copy.writeInt32BE(0x7fffffff, 24))).toBeUndefined();
    expect(broken((copy) => copy.writeUInt32BE(9, 20))).toBeUndefined();
  });
});
