import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bootstrapMedian, comparePairs, median, quantile, randomFrom, spread } from '../../bench/statistics.js';

describe('the median', () => {
  test('is the middle value, or halfway between the middle two', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([7])).toBe(7);
  });

  test('of nothing is an error, not a number', () => {
    expect(() => median([])).toThrow(RangeError);
  });

  test('lies between the least and the greatest, and half of the values are on either side', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: -1e9, max: 1e9, noNaN: true }), { minLength: 1 }), (values) => {
        const { median: middle, min, max, count } = spread(values)!;
        expect(min <= middle && middle <= max).toBe(true);
        expect(count).toBe(values.length);
        expect(values.filter((v) => v <= middle).length).toBeGreaterThanOrEqual(values.length / 2);
        expect(values.filter((v) => v >= middle).length).toBeGreaterThanOrEqual(values.length / 2);
      }),
    );
  });

  test('leaves its input as it was', () => {
    const values = [3, 1, 2];
    median(values);
    spread(values);
    expect(values).toEqual([3, 1, 2]);
  });
});

test('quantiles are linear between neighbours', () => {
  expect(quantile([0, 10], 0.25)).toBe(2.5);
  expect(quantile([0, 10, 20], 1)).toBe(20);
  expect(quantile([0, 10, 20], 0)).toBe(0);
});

describe('the bootstrap interval', () => {
  test('is the same for the same seed, and holds the median', () => {
    const values = [0.9, 1.1, 1.0, 1.3, 0.95, 1.05, 1.2];
    const interval = bootstrapMedian(values, 7);
    expect(bootstrapMedian(values, 7)).toEqual(interval);
    expect(interval.low).toBeLessThanOrEqual(median(values));
    expect(interval.high).toBeGreaterThanOrEqual(median(values));
  });

  test('covers the true median about as often as it says', () => {
    const random = randomFrom(42);
    let covered = 0;
    for (let trial = 0; trial < 300; trial += 1) {
      const { low, high } = bootstrapMedian(
        Array.from({ length: 15 }, () => random() * 2),
        trial,
      );
      if (low <= 1 && 1 <= high) covered += 1;
    }
    // 95 % in the limit; a small sample and 300 trials leave room.
    expect(covered).toBeGreaterThan(300 * 0.88);
  });
});

describe('comparing pairs', () => {
  test('says higher only when every round agrees', () => {
    expect(comparePairs([12, 13, 14, 15], [10, 10, 10, 10], 1).verdict).toBe('higher');
    expect(comparePairs([8, 7, 6, 8], [10, 10, 10, 10], 1).verdict).toBe('lower');
    expect(comparePairs([12, 13, 9, 15], [10, 10, 10, 10], 1).verdict).toBe('not distinguishable');
  });

  test('takes out what hits both alike', () => {
    const spells = [1, 5, 0.2, 9, 2];
    const { ratio, verdict } = comparePairs(
      spells.map((speed) => speed * 1.5),
      spells,
      1,
    );
    expect(ratio).toBeCloseTo(1.5);
    expect(verdict).toBe('higher');
  });

  test('tells nothing apart on two rounds, and not a thing from itself', () => {
    expect(comparePairs([20, 20], [10, 10], 1).verdict).toBe('not distinguishable');
    expect(comparePairs([10, 11, 12], [10, 11, 12], 1).verdict).toBe('not distinguishable');
  });

  test('refuses pairs that are none', () => {
    expect(() => comparePairs([1, 2], [1], 1)).toThrow(RangeError);
  });
});
