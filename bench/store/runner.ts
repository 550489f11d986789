/**
 * Runs one scenario: rounds over all its variants, every second round backward, a yardstick reading and a `sync` before
 * each measurement (write-back of one must not fall on the next). Reports medians and spread, and each check as the
 * median of its ratios per round.
 */
import { spawnSync } from 'node:child_process';
import { median, type Spread, spread } from '../statistics.js';
import type { Yardstick } from '../yardstick.js';
import type { Check, OpenScenario, Scenario, Variant } from './scenario.js';

export interface VariantResult {
  readonly name: string;
  readonly values: readonly number[];
  readonly spread: Spread;
  /** Median of 4 KiB write + fdatasync into written blocks, before each measurement. */
  readonly yardstickMs: readonly number[];
}

export interface CheckResult {
  readonly says: string;
  readonly asked: string;
  readonly ratios: readonly number[];
  readonly ratio: Spread;
  readonly met: boolean;
}

export interface ScenarioResult {
  readonly name: string;
  readonly title: string;
  readonly unit: string;
  readonly variants: readonly VariantResult[];
  readonly checks: readonly CheckResult[];
  readonly skipped: readonly string[];
  readonly notes: readonly string[];
}

export interface RunOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly yardstick: Yardstick;
  onMeasured?(variant: string, round: number): void;
}

export async function runScenario(
  scenario: Scenario,
  open: OpenScenario,
  options: RunOptions,
): Promise<ScenarioResult> {
  const values = new Map<string, number[]>(open.variants.map(({ name }) => [name, []]));
  const yardsticks = new Map<string, number[]>(open.variants.map(({ name }) => [name, []]));
  for (let round = 0; round < options.rounds; round++) {
    const order: readonly Variant[] = round % 2 === 0 ? open.variants : [...open.variants].reverse();
    for (const variant of order) {
      spawnSync('sync');
      globalThis.gc?.();
      yardsticks.get(variant.name)!.push(options.yardstick.read().medianMs);
      values.get(variant.name)!.push(await variant.measure(options.seconds));
      options.onMeasured?.(variant.name, round);
    }
  }
  const isMeasured = (check: Check) => [check.value, ...check.references].every((name) => values.has(name));
  return {
    name: scenario.name,
    title: scenario.title,
    unit: scenario.unit,
    variants: open.variants.map(({ name }) => ({
      name,
      values: values.get(name)!,
      spread: spread(values.get(name)!)!,
      yardstickMs: yardsticks.get(name)!,
    })),
    checks: scenario.checks.filter(isMeasured).map((check) => evaluate(check, values, scenario.higherIsBetter)),
    skipped: scenario.checks.filter((check) => !isMeasured(check)).map(({ says }) => says),
    notes: open.notes?.() ?? [],
  };
}

function evaluate(check: Check, values: ReadonlyMap<string, readonly number[]>, higherIsBetter: boolean): CheckResult {
  const references = bestOf(
    check.references.map((name) => values.get(name)!),
    higherIsBetter,
  );
  const ratios = values.get(check.value)!.map((value, round) => value / references[round]!);
  const middle = median(ratios);
  const met = middle >= (check.atLeast ?? 0) && middle <= (check.atMost ?? Number.POSITIVE_INFINITY);
  const asked = check.atLeast !== undefined ? `≥ ${check.atLeast}` : `≤ ${check.atMost}`;
  return { says: check.says, asked, ratios, ratio: spread(ratios)!, met };
}

/** The reference that is better in the median of all rounds: picking the better one anew each round would favour its noise. */
function bestOf(references: readonly (readonly number[])[], higherIsBetter: boolean): readonly number[] {
  return references.reduce((best, other) => {
    const isBetter = higherIsBetter ? median(other) > median(best) : median(other) < median(best);
    return isBetter ? other : best;
  });
}
