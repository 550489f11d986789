/** `varve bench`: what the flags mean, where the results go, how it ends. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { Command } from 'commander';
import { VarveError } from '../src/errors.js';
import { Cleanup } from './cleanup.js';
import { type BenchFlags, planFrom } from './options.js';
import { type BenchPlan, cellsOf, PRESETS } from './plan.js';
import { Progress, type StepKinds } from './progress.js';
import { bytes, duration } from './report/format.js';
import { resultPage } from './report/html.js';
import { resultTables } from './report/table.js';
import type { BenchResult } from './result.js';
import { runBench } from './run.js';

interface CommandFlags extends BenchFlags {
  readonly json?: string;
  readonly html?: string;
  readonly dir?: string;
  readonly keep?: boolean;
}

/** Exit code when a promise was broken, or the run could not be finished. */
const EXIT_FAILED = 1;

export function benchCommand(): Command {
  const presets = Object.entries(PRESETS)
    .map(([name, preset]) => `  ${name.padEnd(9)} ${preset.about}`)
    .join('\n');
  return new Command('bench')
    .description('measure what each setting costs, and what it loses, on a cluster of three processes on this machine')
    .option('--preset <name>', `one of ${Object.keys(PRESETS).join(', ')}`, 'default')
    .option('--acks <list>', 'of 0, 1, all')
    .option('--flush <list>', 'of sync, async, none')
    .option('--batch <list>', 'bytes at which a batch is closed (16k, 256k), or 1 for a batch per record')
    .option('--compression <list>', 'of none, gzip, snappy, lz4, zstd')
    .option('--size <list>', 'bytes of a record: 100, 1k')
    .option('--rounds <n>', 'times each cell is measured')
    .option('--repeats <n>', 'the same as --rounds')
    .option('--seconds <s>', 'length of one measurement')
    .option('--warmup <s>', 'before each measurement')
    .option('--producers <n>', 'connections of the one client process')
    .option('--window <n>', 'records in flight per producer')
    .option('--rate <n>', 'open loop: records per second over all producers (default: as fast as the windows allow)')
    .option(
      '--payload <file>',
      'events to make records of, one a line (default: the USGS earthquakes that ship with varve)',
    )
    .option('--seed <n>', 'of nonces and of the statistics')
    .option('--no-kill', 'leave the kill -9 tests out')
    .option('--dir <folder>', 'where the nodes keep their data (default: the folder for temporary files)')
    .option('--keep', 'leave data and logs of the nodes where they are')
    .option('--json <file>', 'where the result goes as JSON')
    .option('--html <file>', 'where the page goes (default: varve-bench-<time>/report.html, beside result.json)')
    .addHelpText(
      'after',
      `\nPresets:\n${presets}\n\nThe acks × flush grid runs at 256k and none, if these are among what is asked for; all batches and codecs are\ncrossed at acks=all, flush=sync.\n\nExit code: 0 done; 1 a promise was broken, or the run could not be finished; 2 a flag is wrong.`,
    )
    .action(async (flags: CommandFlags) => {
      const failed = await bench(flags);
      if (failed) process.exitCode = EXIT_FAILED;
    });
}

async function bench(flags: CommandFlags): Promise<boolean> {
  const plan = planFrom(flags);
  const output = process.stderr;
  const cleanup = new Cleanup();
  cleanup.keepFolders = flags.keep === true;
  let folder: string | undefined;
  try {
    folder = cleanup.folder(flags.dir === undefined ? undefined : existingFolder(flags.dir));
    output.write(`${intentionOf(plan)}\n`);
    const command = ['varve', 'bench', ...process.argv.slice(process.argv.indexOf('bench') + 1)].join(' ');
    const progress = (kinds: StepKinds) => new Progress(output, kinds);
    const result = await runBench({ plan, command, folder, cleanup, progress });
    process.stdout.write(`${resultTables(result)}\n`);
    writeConclusions(result);
    for (const file of writeFiles(result, flags)) process.stdout.write(`${file}\n`);
    return result.failed;
  } finally {
    if (flags.keep && folder !== undefined) output.write(`data and logs of the nodes are kept in ${folder}\n`);
    await cleanup.finish();
  }
}

function intentionOf(plan: BenchPlan): string {
  const cells = cellsOf(plan).length;
  return (
    `varve bench: ${cells} ${cells === 1 ? 'cell' : 'cells'} × ${plan.rounds} rounds of ${plan.seconds} s, records of ` +
    `${plan.recordBytes.map(bytes).join(' and ')}, ${plan.producers} producers × window ${plan.window}, seed ${plan.seed}`
  );
}

function existingFolder(folder: string): string {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw new VarveError('INVALID_CONFIG', `--dir: ${folder} cannot be used: ${(cause as Error).message}`, { cause });
  }
  return resolve(folder);
}

function writeConclusions(result: BenchResult): void {
  const say = (title: string, lines: readonly string[]) => {
    if (lines.length > 0) process.stdout.write(`\n${title}\n${lines.map((line) => `  - ${line}`).join('\n')}\n`);
  };
  say('In plain words', result.advice);
  say('Keep in mind', result.warnings);
  say('Not valid: do not quote these figures', result.problems);
  say('FAILED: promises were broken', result.failures);
  process.stdout.write(`\nTook ${duration(result.seconds)}.\n`);
}

/** Returns a line for each file written. */
function writeFiles(result: BenchResult, flags: CommandFlags): string[] {
  const folder = `varve-bench-${result.startedAt.replace(/[:.]/g, '-')}`;
  const byDefault = flags.json === undefined && flags.html === undefined;
  const json = flags.json ?? (byDefault ? join(folder, 'result.json') : undefined);
  const html = flags.html ?? (byDefault ? join(folder, 'report.html') : undefined);
  const lines: string[] = [];
  const write = (what: string, file: string | undefined, text: string) => {
    if (file === undefined) return;
    mkdirSync(dirname(resolve(file)), { recursive: true });
    writeFileSync(file, text);
    lines.push(`${what}: ${resolve(file)}`);
  };
  write('JSON', json, `${JSON.stringify(result, null, 1)}\n`);
  write('page', html, resultPage(result));
  return lines;
}
