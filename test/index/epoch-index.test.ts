import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EpochIndex } from '../../src/index/epoch-index.js';

/** A log as the list of its records' epochs, starting at offset `start`; runs of equal epochs, growing. */
const logs = fc
  .record({
    start: fc.constantFrom(0, 5, 1000),
    runs: fc.array(fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 6 })), { maxLength: 12 }),
  })
  .map(({ start, runs }) => {
    const epochs: number[] = [];
    let epoch = -1;
    for (const [step, length] of runs) {
      epoch += step;
      for (let i = 0; i < length; i++) epochs.push(epoch);
    }
    return { start, epochs, end: start + epochs.length };
  });

function build(start: number, epochs: number[]): EpochIndex {
  const index = new EpochIndex();
  for (const [i, epoch] of epochs.entries()) index.append(epoch, start + i);
  return index;
}

/** By definition: the last record with an epoch ≤ the one asked for. */
function endForEpoch(start: number, epochs: number[], epoch: number) {
  const last = epochs.findLastIndex((one) => one <= epoch);
  return last < 0 ? { epoch: -1, end: start } : { epoch: epochs[last]!, end: start + last + 1 };
}

describe('the leader-epoch index', () => {
  test('answers epochAt and endForEpoch as the list of all records does', () => {
    fc.assert(
      fc.property(logs, ({ start, epochs, end }) => {
        const index = build(start, epochs);
        for (const [i, epoch] of epochs.entries()) expect(index.epochAt(start + i)).toBe(epoch);
        expect(index.epochAt(start - 1)).toBe(-1);
        expect(index.lastEpoch).toBe(epochs.at(-1) ?? -1);
        for (let epoch = -1; epoch < (epochs.at(-1) ?? 0) + 3; epoch++) {
          expect(index.endForEpoch(epoch, start, end)).toEqual(endForEpoch(start, epochs, epoch));
        }
      }),
      { numRuns: 300 },
    );
  });

  test('after a truncation is the index of the shorter log', () => {
    fc.assert(
      fc.property(logs, fc.nat(80), ({ start, epochs }, keep) => {
        const index = build(start, epochs);
        index.truncateTo(start + keep);
        expect(index.entries).toEqual(build(start, epochs.slice(0, keep)).entries);
      }),
      { numRuns: 300 },
    );
  });

  test('after the log start moved still knows every record from the one before it on', () => {
    fc.assert(
      fc.property(logs, fc.nat(80), ({ start, epochs, end }, dropped) => {
        const index = build(start, epochs);
        const newStart = Math.min(end, start + dropped);
        index.trimStart(newStart);
        for (let offset = Math.max(start, newStart - 1); offset < end; offset++) {
          expect(index.epochAt(offset)).toBe(epochs[offset - start]);
        }
        expect(index.lastEpoch).toBe(epochs.at(-1) ?? -1);
        // At most one epoch more than the records that are left have.
        const left = new Set(epochs.slice(Math.max(0, newStart - 1 - start)));
        expect(index.entries.length).toBe(left.size);
      }),
      { numRuns: 300 },
    );
  });

  test('is the same after a round trip through its text', () => {
    fc.assert(
      fc.property(logs, ({ start, epochs, end }) => {
        const index = build(start, epochs);
        const loaded = EpochIndex.fromBytes(index.toBytes(), { endOffset: end });
        expect(loaded?.entries).toEqual(index.entries);
      }),
      { numRuns: 100 },
    );
  });

  test("is written in the layout of Kafka's leader-epoch-checkpoint", () => {
    const index = EpochIndex.fromEntries([
      { epoch: 4, startOffset: 0 },
      { epoch: 7, startOffset: 1500 },
    ]);
    expect(index.toBytes().toString()).toBe('0\n2\n4 0\n7 1500\n');
  });

  test.each([
    ['nothing', ''],
    ['no final line break', '0\n1\n4 0'],
    ['another version', '1\n1\n4 0\n'],
    ['a wrong count', '0\n2\n4 0\n'],
    ['letters', '0\n1\nx 0\n'],
    ['a negative epoch', '0\n1\n-4 0\n'],
    ['epochs out of order', '0\n2\n4 0\n4 10\n'],
    ['offsets out of order', '0\n2\n4 10\n5 10\n'],
    ['an offset beyond the log', '0\n1\n4 101\n'],
    ['an epoch beyond 31 bits', '0\n1\n2147483648 0\n'],
  ])('does not load %s', (_, text) => {
    expect(EpochIndex.fromBytes(Buffer.from('0\n1\n4 100\n'), { endOffset: 100 })?.lastEpoch).toBe(4);
    expect(EpochIndex.fromBytes(Buffer.from(text), { endOffset: 100 })).toBeUndefined();
  });

  test('refuses an epoch that goes back', () => {
    const index = EpochIndex.fromEntries([{ epoch: 4, startOffset: 10 }]);
    const refused = expect.objectContaining({ code: 'INVARIANT_BROKEN' });
    expect(() => index.append(3, 20)).toThrow(refused);
    expect(() => index.append(5, 10)).toThrow(refused);
    expect(() => index.append(4, 9)).toThrow(refused);
    index.append(4, 20);
    expect(index.entries).toHaveLength(1);
  });
});
