/**
 * `npm run bench:check`: how long `varve check` takes for a history of a million operations, and how much memory. Writes one
 * (bench/checker/synthetic-history.ts), judges it in a process of its own per round, and prints median and worst.
 *
 *   npm run bench:check
 *   npm run bench:check -- --operations 1000000 --rounds 5 --seed 1 --limit 30 --history FILE
 *
 * Exit code 0: the worst round was within the limit of seconds, and the verdict right; 1: not; 2: a flag is wrong.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { checkHistoryFile } from '../../src/checker/history-file.js';
import { median } from '../statistics.js';
import { syntheticHistory } from './synthetic-history.js';

interface Round {
  readonly seconds: number;
  readonly peakMiB: number;
  readonly operations: number;
  readonly clean: boolean;
}

const WRITE_BYTES = 1024 * 1024;

function write(path: string, operations: number, seed: number): void {
  const file = openSync(path, 'w');
  let text = '';
  for (const operation of syntheticHistory(operations, seed)) {
    text += `${JSON.stringify(operation)}\n`;
    if (text.length < WRITE_BYTES) continue;
    writeSync(file, text);
    text = '';
  }
  writeSync(file, text);
  closeSync(file);
}

/** In a process of its own. */
async function judge(path: string): Promise<void> {
  const began = performance.now();
  const { operations, clean, anomalies } = await checkHistoryFile(path);
  const seconds = (performance.now() - began) / 1000;
  if (!clean) console.error(anomalies[0]);
  const round: Round = { seconds, peakMiB: process.resourceUsage().maxRSS / 1024, operations, clean };
  console.log(JSON.stringify(round));
}

function round(path: string): Round {
  const program = fileURLToPath(import.meta.url);
  const { stdout, status } = spawnSync(process.execPath, [program, '--judge', path], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status !== 0) throw new Error(`judging failed with exit code ${status}`);
  return JSON.parse(stdout) as Round;
}

function wholeNumber(flag: string, text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new RangeError(`--${flag} "${text}": give a whole number from 1 on`);
  return Number(text);
}

function measure(
  values: Readonly<Record<'operations' | 'rounds' | 'seed' | 'limit', string>>,
  history?: string,
): boolean {
  const [operations, rounds, seed, limit] = (['operations', 'rounds', 'seed', 'limit'] as const).map((flag) =>
    wholeNumber(flag, values[flag]),
  ) as [number, number, number, number];
  const folder = mkdtempSync(join(tmpdir(), 'varve-check-'));
  try {
    const path = history ?? join(folder, 'history.jsonl');
    if (history === undefined) write(path, operations, seed);
    console.log(`${path}: ${(statSync(path).size / 2 ** 20).toFixed(0)} MiB`);
    const results: Round[] = [];
    for (let i = 0; i < rounds; i += 1) {
      const one = round(path);
      results.push(one);
      console.log(
        `round ${i + 1}: ${one.seconds.toFixed(2)} s, ${one.peakMiB.toFixed(0)} MiB, ${one.operations} operations`,
      );
    }
    const seconds = results.map((one) => one.seconds);
    const worst = Math.max(...seconds);
    const isRight = results.every(({ clean }) => clean) || history !== undefined;
    console.log(`median ${median(seconds).toFixed(2)} s, worst ${worst.toFixed(2)} s (limit ${limit} s)`);
    if (!isRight) console.log('FAILED: an anomaly was found where there is none');
    return isRight && worst <= limit;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

try {
  const { values } = parseArgs({
    options: {
      operations: { type: 'string', default: '1000000' },
      rounds: { type: 'string', default: '5' },
      seed: { type: 'string', default: '1' },
      limit: { type: 'string', default: '30' },
      history: { type: 'string' },
      judge: { type: 'string' },
    },
  });
  if (values.judge !== undefined) await judge(values.judge);
  else process.exitCode = measure(values, values.history) ? 0 : 1;
} catch (error) {
  console.error(`bench:check: ${(error as Error).message}`);
  const isFlag = error instanceof RangeError || String((error as { code?: unknown }).code).startsWith('ERR_PARSE_ARGS');
  process.exitCode = isFlag ? 2 : 1;
}
