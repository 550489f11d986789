// The checker and the oracle agree about random histories, anomaly by anomaly.
//
//   CHECKER_RUNS=100000 npx vitest run test/checker/oracle.test.ts
//   CHECKER_SEED=4711 CHECKER_RUNS=1 npx vitest run test/checker/oracle.test.ts    replays one
import { expect, test } from 'vitest';
import { ANOMALIES } from '../../src/checker/anomaly.js';
import { HistoryChecker } from '../../src/checker/history-checker.js';
import type { Operation } from '../../src/checker/operation.js';
import { faultOfOperation } from '../../src/checker/operation-fields.js';
import { judgeNaively } from './oracle.js';
import { type Random, randomHistory } from './random-history.js';

const runs = Number(process.env['CHECKER_RUNS'] ?? 4000);
const firstSeed = Number(process.env['CHECKER_SEED'] ?? 1);

/** Mulberry32. */
function randomFrom(seed: number): Random {
  let state = seed | 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return { below: (count) => Math.floor(next() * count), chance: (probability) => next() < probability };
}

/** By `anomaly partition`. */
function judge(history: readonly Operation[]): Record<string, number> {
  const checker = new HistoryChecker({ keep: Number.POSITIVE_INFINITY });
  for (const operation of history) checker.add(operation);
  const found: Record<string, number> = {};
  for (const { anomaly, partition } of checker.finish().anomalies) {
    const key = `${anomaly} ${partition}`;
    found[key] = (found[key] ?? 0) + 1;
  }
  return found;
}

test(`checker and oracle agree about ${runs} random histories from seed ${firstSeed} on`, () => {
  const kinds = new Map<string, number>();
  let clean = 0;
  for (let seed = firstSeed; seed < firstSeed + runs; seed += 1) {
    const made = randomHistory(randomFrom(seed)).map((line) => JSON.parse(JSON.stringify(line)) as Operation);
    const history = made.filter((line) => faultOfOperation(line) === undefined);
    const expected = judgeNaively(history);
    const found = judge(history);
    const text = history.map((line, i) => `${i + 1} ${JSON.stringify(line)}`).join('\n');
    expect(found, `CHECKER_SEED=${seed} CHECKER_RUNS=1 npx vitest run test/checker/oracle.test.ts\n${text}`).toEqual(
      expected,
    );
    for (const key of Object.keys(expected)) {
      const kind = key.split(' ')[0]!;
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    }
    if (Object.keys(expected).length === 0) clean += 1;
  }
  if (runs < 1000) return;
  // These need dumps of replicas, single answers or long times, which random histories do not have.
  const others = ['replica-divergence', 'silent-repair-by-truncation', 'stuck', 'unbounded-retry'];
  expect([...kinds.keys(), ...others].sort()).toEqual(Object.keys(ANOMALIES).sort());
  expect(clean).toBeGreaterThan(runs / 50);
});
