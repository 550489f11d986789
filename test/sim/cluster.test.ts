/**
 * Whole clusters from one seed each. SIM_SEED replays one of them; SIM_SEEDS: how many are tried, from SIM_FIRST on;
 * SIM_MS: simulated milliseconds of faults in each; SIM_FAULT_MS: between two faults, on average; SIM_APPENDS: per second;
 * SIM_FIGURES=1 prints what happened.
 */
import { afterEach, expect, test, vi } from 'vitest';
import { ClusterSimulation, type SimulationReport } from './cluster-simulation.js';
import { TwinFile } from './twin-file.js';

const REPLAY = process.env['SIM_SEED'];
const SEEDS = Number(process.env['SIM_SEEDS'] ?? 5);
const FIRST = Number(process.env['SIM_FIRST'] ?? 1);
const SIMULATED_MS = Number(process.env['SIM_MS'] ?? 60_000);
const FAULT_MS = Number(process.env['SIM_FAULT_MS'] ?? 2000);
const APPENDS = Number(process.env['SIM_APPENDS'] ?? 20);
for (const [name, value] of Object.entries({ SIM_SEED: Number(REPLAY ?? 0), SIM_SEEDS: SEEDS, SIM_FIRST: FIRST })) {
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`${name} is a whole number, 0 or more`);
}

async function play(seed: number): Promise<SimulationReport> {
  const simulation = new ClusterSimulation(seed, {
    simulatedMs: SIMULATED_MS,
    faultEveryMs: FAULT_MS,
    appendsPerSecond: APPENDS,
  });
  try {
    return await simulation.run();
  } catch (error) {
    const settings = `SIM_SEED=${seed} SIM_MS=${SIMULATED_MS} SIM_FAULT_MS=${FAULT_MS} SIM_APPENDS=${APPENDS}`;
    const replay = `${settings} npx vitest run test/sim/cluster.test.ts -t cluster`;
    const message = `seed ${seed} failed; replay: ${replay}\n${(error as Error).message}\n${simulation.log.join('\n')}`;
    throw new Error(message, { cause: error });
  }
}

afterEach(() => vi.restoreAllMocks());

const HOUR_MS = 3_600_000;

test(`${REPLAY === undefined ? `${SEEDS} clusters` : `the cluster of seed ${REPLAY}`} under faults of every kind keep every promise, and recover`, async () => {
  const seeds = REPLAY === undefined ? Array.from({ length: SEEDS }, (_, i) => FIRST + i) : [Number(REPLAY)];
  const began = performance.now();
  const sum: Record<string, number> = {};
  const add = (what: string, count: number): void => {
    sum[what] = (sum[what] ?? 0) + count;
  };
  for (const seed of seeds) {
    const { trace, happened, faults, ...figures } = await play(seed);
    if (REPLAY !== undefined) console.log(`seed ${seed}: trace ${trace}`);
    const { simulatedMs, events, acknowledged, fetches, deletions, operations, flush } = figures;
    const counts = { simulatedMs, events, acknowledged, fetches, deletions, operations, [`flush ${flush}`]: 1 };
    for (const [what, count] of Object.entries({ ...counts, ...happened })) add(what, count);
    for (const [what, count] of Object.entries(faults)) add(`fault ${what}`, count);
    if (seed % 50 === 0) expect((await play(seed)).trace, `seed ${seed} twice`).toBe(trace);
  }
  if (process.env['SIM_FIGURES'] !== undefined) {
    const minutes = (performance.now() - began) / 60_000;
    console.log(sum, `${(sum['simulatedMs']! / HOUR_MS / minutes).toFixed(2)} simulated hours per minute`);
  }
  if (REPLAY !== undefined || SEEDS < 20) return;
  // A cluster to which nothing happens keeps every promise.
  for (const [what, count] of Object.entries(sum)) expect(count, what).toBeGreaterThan(0);
}, 3_600_000);

test('one seed gives one run', async () => {
  const [first, second] = [await play(FIRST), await play(FIRST)];
  expect(second).toEqual(first);
  const other = await play(FIRST + 1);
  expect(other.trace).not.toBe(first.trace);
}, 3_600_000);

test('on disks whose syncs do nothing, what was promised is lost, and the referee sees it', async () => {
  vi.spyOn(TwinFile.prototype, 'finishSync').mockImplementation(() => {});
  const failures: string[] = [];
  for (let seed = FIRST; seed < FIRST + 20 && failures.length === 0; seed++) {
    await play(seed).catch((error: Error) => failures.push(error.message));
  }
  expect(failures[0]).toMatch(/recovered|durable|committed/);
}, 3_600_000);
