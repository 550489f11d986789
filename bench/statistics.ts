/**
 * The few statistics a benchmark of three to ten rounds can carry honestly: the median, what it lies between, and whether
 * two things measured in the same rounds differ at all. No means, no standard deviations: the noise of a shared machine
 * is not normal.
 */

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly count: number;
}

/** `undefined` for no values. */
export function spread(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  return {
    median: quantile(sorted, 0.5),
    min: sorted[0] as number,
    max: sorted.at(-1) as number,
    count: sorted.length,
  };
}

export function median(values: readonly number[]): number {
  return quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
}

/** Linear between neighbours (type 7 of Hyndman & Fan). `sorted` ascending and not empty. */
export function quantile(sorted: readonly number[], q: number): number {
  if (sorted.length === 0) throw new RangeError('a quantile of no values');
  const at = (sorted.length - 1) * q;
  const below = Math.floor(at);
  const low = sorted[below] as number;
  const high = sorted[Math.min(below + 1, sorted.length - 1)] as number;
  return low + (high - low) * (at - below);
}

export interface Interval {
  readonly low: number;
  readonly high: number;
}

const RESAMPLES = 1000;

/** 95 % bootstrap interval of the median (percentile method), reproducible by its seed. */
export function bootstrapMedian(values: readonly number[], seed: number): Interval {
  if (values.length === 0) throw new RangeError('an interval of no values');
  const random = randomFrom(seed);
  const medians = Array.from({ length: RESAMPLES }, () =>
    median(values.map(() => values[Math.floor(random() * values.length)] as number)),
  ).sort((a, b) => a - b);
  return { low: quantile(medians, 0.025), high: quantile(medians, 0.975) };
}

/** Below this many pairs no statement of difference is made: the smallest sample of which 95 % can be said at all. */
export const PAIRS_MIN = 3;

/**
 * Compares two things measured in the same rounds by their ratio in each round, which takes the machine's slow and fast
 * spells out. Two are told apart only if the interval of the median ratio leaves 1 out and every round agrees on which
 * is larger.
 */
export function comparePairs(
  values: readonly number[],
  references: readonly number[],
  seed: number,
): {
  readonly ratio: number;
  readonly interval: Interval;
  readonly verdict: 'higher' | 'lower' | 'not distinguishable';
} {
  if (values.length !== references.length) throw new RangeError('pairs want as many references as values');
  const ratios = values.map((value, i) => value / (references[i] as number));
  const ratio = median(ratios);
  const interval = bootstrapMedian(ratios, seed);
  const enough = ratios.length >= PAIRS_MIN;
  if (enough && interval.low > 1 && ratios.every((r) => r > 1)) return { ratio, interval, verdict: 'higher' };
  if (enough && interval.high < 1 && ratios.every((r) => r < 1)) return { ratio, interval, verdict: 'lower' };
  return { ratio, interval, verdict: 'not distinguishable' };
}

/** Uniform in [0, 1), from a 32-bit seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
