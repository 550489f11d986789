// Nth-call errors: every call with which a store changes its files fails once, or from then on. `npm run images:calls` goes
// through all of them; a run of all tests takes every CALLS_STRIDEth.
import { afterAll, expect, test } from 'vitest';
import { CALL_ERRORS, type CallError, type Outcome, runWithFault } from './calls.js';
import { Scratch } from './scratch.js';
import { WORKLOADS } from './workloads.js';

const stride = Number(process.env['CALLS_STRIDE'] ?? 61);
const only = process.env['CALLS_WORKLOAD'];
const onlyError = process.env['CALLS_ERROR'];
const onlyCall = process.env['CALLS_CALL'];
const MINUTES = 60;
const MAX_CALLS = 5000;
/** Runs at the same time. */
const PARALLEL = 4;

const scratch = new Scratch();
const rows: string[][] = [
  ['workload', 'error', 'calls', 'runs', 'unharmed', 'full', 'latched', 'not opened', 'failed'],
];

afterAll(() => {
  scratch.close();
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  console.log(rows.map((row) => row.map((cell, i) => cell.padEnd(widths[i]!)).join('  ')).join('\n'));
});

const cases = WORKLOADS.filter(({ name, fills }) => !fills && (only === undefined || name === only)).flatMap(
  (workload) =>
    CALL_ERRORS.filter((error) => onlyError === undefined || error === onlyError).flatMap((error) =>
      [false, true].map((repeat) => ({
        workload,
        name: workload.name,
        error,
        repeat,
        how: repeat ? 'for ever' : 'once',
      })),
    ),
);

test.each(cases)(
  '$error at any call of $name, $how',
  async ({ workload, error, repeat, how }) => {
    const outcomes = new Map<Outcome, number>();
    const failures: string[] = [];
    let runs = 0;
    let calls = MAX_CALLS;
    const next = numbers(workload.name, error, how);
    const worker = async (): Promise<void> => {
      for (let call = next(); call <= calls; call = next()) {
        const { outcome, failed, problems } = await runWithFault(workload, { error, call, repeat }, scratch);
        if (failed === undefined) calls = Math.min(calls, call - 1);
        runs++;
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        if (problems.length === 0) continue;
        failures.push(
          `FAILED ${workload.name}, ${error} ${how} at call ${call} (${failed ?? 'none failed'})\n` +
            problems
              .slice(0, 5)
              .map((problem) => `  ${problem}\n`)
              .join('') +
            `  replay: CALLS_WORKLOAD=${workload.name} CALLS_ERROR='${error}' CALLS_CALL=${call} npx vitest run test/images/calls.test.ts`,
        );
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, worker));
    for (const failure of failures.slice(0, 5)) console.error(failure);
    const counts = (['unharmed', 'full', 'latched', 'not opened'] as const).map((each) =>
      String(outcomes.get(each) ?? 0),
    );
    rows.push([workload.name, `${error} ${how}`, String(calls), String(runs), ...counts, String(failures.length)]);
    expect(failures.length).toBe(0);
    expect(calls).toBeLessThan(MAX_CALLS);
  },
  MINUTES * 60_000,
);

/** 1, 2, 3 …, or every one at a distance, beginning somewhere else for each case. */
function numbers(name: string, error: CallError, how: string): () => number {
  if (onlyCall !== undefined) {
    const around = [Number(onlyCall), MAX_CALLS + 1];
    return () => around.shift() ?? MAX_CALLS + 1;
  }
  const first = 1 + ([...`${name}${error}${how}`].reduce((sum, char) => sum + char.charCodeAt(0), 0) % stride);
  let call = first - stride;
  return () => {
    call += stride;
    return call;
  };
}
