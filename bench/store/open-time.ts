/**
 * How long a store takes to open after kill -9, with little and with much sealed data: it should not matter how much.
 * Filling and opening are done by processes of their own, which are killed; each opening is the first of its process.
 *
 *   node dist/bench/store/open-time.js [--rounds 5] [--small-gib 1] [--large-gib 10] [--dir FOLDER]
 *
 * Ends with 1 when the larger one takes more than 1.5 times as long and more than 50 ms longer.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openStore } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { median } from '../statistics.js';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const BATCH_BYTES = 256 * 1024;
const BATCHES_PER_RUN = 16;
const TAIL_BYTES = MIB;
const RATIO_MAX = 1.5;
const DIFFERENCE_MAX_MS = 50;
const LOG_OPTIONS = { segmentBytes: 64 * MIB, flush: 'none' } as const;

function run(): Buffer {
  const builder = new BatchBuilder({ initialBytes: BATCH_BYTES });
  const batches = Array.from({ length: BATCHES_PER_RUN }, (_, i) => {
    builder.append(1000 + i, null, Buffer.alloc(BATCH_BYTES - 100, i));
    return Buffer.from(builder.finish());
  });
  return Buffer.concat(batches);
}

/** Says 'ready' when everything but a tail is covered by a checkpoint, and waits to be killed. */
async function fill(path: string, bytes: number): Promise<void> {
  const store = await openStore(path, { create: true });
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  const batches = run();
  for (let filled = 0; filled < bytes; filled += batches.length) {
    log.appendProduced(batches, 0, batches.length, 0);
    if (log.throttled) await log.whenWritable();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await store.checkpoint();
  await tail(log);
  console.log('ready');
  setInterval(() => {}, 60_000);
}

/** Says how many milliseconds opening took, leaves a tail that no checkpoint covers, and waits to be killed. */
async function open(path: string): Promise<void> {
  const began = performance.now();
  const store = await openStore(path);
  const opened = performance.now();
  const log = await store.openLog('t', 0, LOG_OPTIONS);
  const done = performance.now();
  if (log.recovery.clean || log.end === 0) throw new Error('the store was not killed');
  await tail(log);
  console.log(`${opened - began} ${done - opened}`);
  setInterval(() => {}, 60_000);
}

async function tail(log: Awaited<ReturnType<Awaited<ReturnType<typeof openStore>>['openLog']>>): Promise<void> {
  const batches = run();
  log.appendProduced(batches, 0, TAIL_BYTES - (TAIL_BYTES % (batches.length / BATCHES_PER_RUN)), 0);
  await log.flush();
}

/** Runs a role in a process of its own until it has said something, then kills it. */
async function inProcess(...role: string[]): Promise<string> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), ...role], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(child, 'exit');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const { value, done } = await lines.next();
  child.kill('SIGKILL');
  await exit;
  if (done) throw new Error(`${role[0]} ended without a word`);
  return value;
}

export interface OpenTimes {
  readonly gib: number;
  readonly storeMs: number;
  readonly logMs: number;
  readonly totalMs: number;
}

/** Medians, the sizes measured in turn. */
export async function openTimes(folder: string, sizesGib: readonly number[], rounds: number): Promise<OpenTimes[]> {
  const all = sizesGib.map((gib) => ({
    gib,
    path: join(folder, `${gib}`),
    store: [] as number[],
    log: [] as number[],
  }));
  for (const { gib, path } of all) await inProcess('fill', path, String(gib * GIB));
  for (let round = 0; round < rounds; round++) {
    for (const { path, store, log } of all) {
      const [storeMs, logMs] = (await inProcess('open', path)).split(' ').map(Number);
      store.push(storeMs!);
      log.push(logMs!);
    }
  }
  return all.map(({ gib, store, log }) => ({
    gib,
    storeMs: median(store),
    logMs: median(log),
    totalMs: median(store.map((ms, i) => ms + log[i]!)),
  }));
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: 'string', default: '5' },
      'small-gib': { type: 'string', default: '1' },
      'large-gib': { type: 'string', default: '10' },
      dir: { type: 'string', default: tmpdir() },
    },
  });
  const [role, path, bytes] = positionals;
  if (role === 'fill') return fill(path!, Number(bytes));
  if (role === 'open') return open(path!);
  const folder = await mkdtemp(join(values.dir, 'varve-open-'));
  try {
    const sizes = [Number(values['small-gib']), Number(values['large-gib'])];
    const [small, large] = await openTimes(folder, sizes, Number(values.rounds));
    for (const { gib, storeMs, logMs, totalMs } of [small!, large!]) {
      console.log(
        `${gib} GiB sealed: ${totalMs.toFixed(1)} ms (openStore ${storeMs.toFixed(1)}, openLog ${logMs.toFixed(1)})`,
      );
    }
    const ratio = large!.totalMs / small!.totalMs;
    const isMet = ratio <= RATIO_MAX || large!.totalMs - small!.totalMs <= DIFFERENCE_MAX_MS;
    console.log(`ratio ${ratio.toFixed(2)} (${isMet ? 'met' : 'NOT met'}: at most ${RATIO_MAX}, or 50 ms more)`);
    if (!isMet) process.exitCode = 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
