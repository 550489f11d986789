/**
 * `npm run bench:store`: what the store costs, as ratios to named yardsticks measured in the same rounds.
 *
 *   npm run bench:store                                 everything, 9 rounds
 *   npm run bench:store -- --only batches,records       some of them
 *   npm run bench:store -- --rounds 15 --seconds 1 --dir FOLDER --json out.json
 *
 *   npm run bench:store -- --help
 *
 * Exit code 0: every ratio that is asked for was met (or could not be measured, and says so); 1: one was not; 2: a flag is wrong.
 */
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { captureEnvironment } from '../environment.js';
import { compiled } from '../package-root.js';
import { durabilityDoubts, fileSystemOf, Yardstick } from '../yardstick.js';
import { spread } from '../statistics.js';
import { appendCosts } from './append-cost.js';
import { directFlushes } from './direct-flush.js';
import { durableAppends } from './durable-appends.js';
import { groupCommits } from './group-commit.js';
import { findPeers, type PeerStore } from './peers.js';
import { runScenario, type ScenarioResult } from './runner.js';
import type { Scenario } from './scenario.js';
import { scanCosts } from './scan-cost.js';

const MAX_ROUNDS = 1000;
const MAX_SECONDS = 60;

interface Settings {
  readonly rounds: number;
  readonly seconds: number;
  readonly only: readonly string[] | undefined;
  readonly dir: string;
  readonly json: string | undefined;
}

/** Undefined: help was asked for. */
function settings(): Settings | undefined {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '9' },
      seconds: { type: 'string', default: '0.6' },
      only: { type: 'string' },
      dir: { type: 'string', default: 'out' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const rounds = Number(values.rounds);
  const seconds = Number(values.seconds);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > MAX_ROUNDS)
    throw new RangeError(`--rounds "${values.rounds}": give a whole number from 1 to ${MAX_ROUNDS}`);
  if (!(seconds > 0 && seconds <= MAX_SECONDS))
    throw new RangeError(`--seconds "${values.seconds}": give a number above 0, at most ${MAX_SECONDS}`);
  return { rounds, seconds, only: values.only?.split(','), dir: values.dir, json: values.json };
}

function help(): string {
  const names = [...scenarios([]).map(({ name }) => name), ...PROGRAMS];
  return `npm run bench:store -- [flags]: what the store costs, as ratios to yardsticks measured in the same rounds

  --rounds N      how often everything is measured, 1 to ${MAX_ROUNDS}; default 9
  --seconds S     length of one measurement, above 0, at most ${MAX_SECONDS}; default 0.6
  --only A,B      some of ${names.join(', ')}
  --dir FOLDER    where the data goes, and is removed again; default out
  --json FILE     where the figures go as JSON; default nowhere
  --help          this

The first run installs better-sqlite3 and lmdb into tools/store-peers; where that fails their rows are left out.
Exit code: 0 every ratio that is asked for was met, 1 one was not, 2 a flag is wrong.`;
}

function scenarios(peers: readonly PeerStore[]): Scenario[] {
  return [...durableAppends(peers), ...groupCommits(), ...directFlushes(), ...appendCosts(), ...scanCosts()];
}

/** Measurements that need processes of their own; each prints what it finds and ends with 1 when a limit is not met. */
const PROGRAMS = ['idle-partitions', 'open-time', 'unsynced-tails'] as const;

interface Chosen {
  readonly scenarios: readonly Scenario[];
  readonly programs: readonly string[];
}

function chosen(all: readonly Scenario[], only: readonly string[] | undefined): Chosen {
  const names = [...all.map(({ name }) => name), ...PROGRAMS];
  const unknown = only?.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new RangeError(`--only: there is no "${unknown}"; there are ${names.join(', ')}`);
  const isChosen = (name: string) => only?.includes(name) ?? true;
  return { scenarios: all.filter(({ name }) => isChosen(name)), programs: PROGRAMS.filter(isChosen) };
}

/** Names of the programs that did not meet a limit. */
function runPrograms(names: readonly string[], folder: string): string[] {
  return names.filter((name) => {
    console.log(`\n${name}`);
    const args = ['--expose-gc', compiled(`bench/store/${name}.js`), '--dir', folder];
    return spawnSync('node', args, { stdio: 'inherit' }).status !== 0;
  });
}

async function main(): Promise<number> {
  let given: Settings | undefined;
  let work: Chosen;
  try {
    given = settings();
    if (given === undefined) {
      console.log(help());
      return 0;
    }
    const peers = findPeers((line) => console.log(line));
    work = chosen(scenarios(peers), given.only);
  } catch (error) {
    console.error(`bench:store: ${(error as Error).message}`);
    return 2;
  }
  await mkdir(given.dir, { recursive: true });
  const folder = await mkdtemp(join(given.dir, 'bench-store-'));
  try {
    const missed = (await measure(given, work.scenarios, folder)) + runPrograms(work.programs, folder).length;
    return missed === 0 ? 0 : 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** @returns how many ratios were not met */
async function measure(given: Settings, scenarios: readonly Scenario[], folder: string): Promise<number> {
  const environment = captureEnvironment(folder);
  const yardstick = new Yardstick(folder);
  const results: ScenarioResult[] = [];
  const doubts = durabilityDoubts(fileSystemOf(folder), yardstick.read());
  console.log(
    `Node.js ${environment.node}, ${environment.cores} cores, ${environment.fileSystem}; load ${environment.loadAverage}`,
  );
  for (const doubt of doubts) console.log(`No durable claim here: ${doubt}`);
  for (const scenario of scenarios) {
    const place = join(folder, scenario.name);
    await mkdir(place);
    const open = await scenario.open(place);
    try {
      const result = await runScenario(scenario, open, { ...given, yardstick });
      results.push(result);
      print(result);
    } finally {
      await open.close();
      await rm(place, { recursive: true, force: true });
    }
  }
  yardstick.close();
  if (given.json !== undefined) {
    const { rounds, seconds } = given;
    await writeFile(
      given.json,
      `${JSON.stringify({ version: 1, environment, rounds, seconds, doubts, results }, null, 2)}\n`,
    );
  }
  const missed = results.flatMap(({ checks }) => checks.filter(({ met }) => !met));
  const asked = results.reduce((sum, { checks }) => sum + checks.length, 0);
  console.log(`\n${asked - missed.length} of ${asked} ratios met`);
  return missed.length;
}

function print(result: ScenarioResult): void {
  console.log(`\n${result.title}`);
  const figures = new Table({
    head: ['', result.unit, 'lowest–highest round', 'yardstick ms'],
    colAligns: ['left', 'right', 'right', 'right'],
    style: { head: [], border: [] },
  });
  for (const { name, spread: seen, yardstickMs } of result.variants) {
    const disk = spread(yardstickMs)!;
    figures.push([
      name,
      figure(seen.median),
      `${figure(seen.min)}–${figure(seen.max)}`,
      `${disk.median.toFixed(2)} (${disk.min.toFixed(2)}–${disk.max.toFixed(2)})`,
    ]);
  }
  console.log(figures.toString());
  for (const { says, asked, ratio, met } of result.checks) {
    const seen = `${ratio.median.toFixed(3)} [${ratio.min.toFixed(3)}–${ratio.max.toFixed(3)}]`;
    console.log(`${met ? 'met    ' : 'NOT MET'}  ${says}: ${seen}, asked ${asked}`);
  }
  for (const says of result.skipped) console.log(`skipped  ${says}: the store it is held against is not installed`);
  for (const note of result.notes) console.log(`note     ${note}`);
}

function figure(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en-US') : value.toPrecision(3);
}

process.exitCode = await main();
