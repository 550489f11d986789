/**
 * What `npm run bench:store` measures: scenarios, each a few variants of the same work and the ratios that are asked of
 * them. Variants of a scenario are measured in turn within each round, so that a ratio is made of neighbours in time.
 */

/** One way to do a scenario's work. */
export interface Variant {
  readonly name: string;
  /** Does the work for about `seconds` and returns the figure, in the scenario's unit. */
  measure(seconds: number): Promise<number>;
}

/** A ratio that is asked for: `value` ÷ `reference`, or ÷ the best of several references, in each round. */
export interface Check {
  readonly says: string;
  readonly value: string;
  readonly references: readonly string[];
  readonly atLeast?: number;
  readonly atMost?: number;
}

export interface OpenScenario {
  readonly variants: readonly Variant[];
  /** Facts seen on the way that belong beside the figures. */
  notes?(): readonly string[];
  close(): Promise<void>;
}

export interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly unit: string;
  /** False for times and costs. */
  readonly higherIsBetter: boolean;
  readonly checks: readonly Check[];
  /** `folder` is empty, lies on the disk that is measured, and is removed afterwards. */
  open(folder: string): Promise<OpenScenario>;
}
