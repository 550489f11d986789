/**
 * How long a store takes to open after kill -9 when many partitions have a tail that no checkpoint covers: all of it is
 * replayed from the journal, rewritten, synced and scanned. Beside it, the time of reading the same bytes from the files.
 * It is a figure without a limit: the work is proportional to the bytes, and the ratio says by how much.
 *
 *   node dist/bench/store/unsynced-tails.js [--partitions 1000] [--tail-kib 1024] [--rounds 3] [--dir FOLDER]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openStore } from '../../src/log/store.js';
import { spread } from '../statistics.js';
import { encodedBatch } from './records.js';

const KIB = 1024;
const GIB = 2 ** 30;
const BATCH_BYTES = 256 * KIB;
/** So that no checkpoint comes in between. */
const STORE_OPTIONS = { checkpointIntervalMs: 3_600_000, journalMaxBytes: 64 * GIB } as const;

interface Settings {
  readonly partitions: number;
  readonly tailBytes: number;
}

/** Says 'ready' when every partition has its tail, and waits to be killed. */
async function fill(path: string, { partitions, tailBytes }: Settings): Promise<void> {
  const store = await openStore(path, { create: true, ...STORE_OPTIONS });
  const numbers = Array.from({ length: partitions }, (_, i) => i);
  const logs = await Promise.all(numbers.map((partition) => store.openLog('t', partition, { flush: 'none' })));
  await store.checkpoint();
  const batch = encodedBatch(Math.min(BATCH_BYTES, tailBytes));
  for (let bytes = 0; bytes < tailBytes; bytes += batch.length) {
    for (const log of logs) {
      log.appendProduced(batch, 0, batch.length, 0);
      await log.whenWritable();
    }
    await logs[0]!.flush();
  }
  console.log('ready');
  setInterval(() => {}, 60_000);
}

/** Says how many milliseconds opening took, and how many records recovery replayed. */
async function open(path: string): Promise<void> {
  const began = performance.now();
  const store = await openStore(path, STORE_OPTIONS);
  console.log(String(performance.now() - began));
  await store.close();
}

/** Milliseconds of reading every segment file once. */
function readAll(path: string): number {
  const began = performance.now();
  for (const folder of readdirSync(path, { withFileTypes: true })) {
    if (!folder.isDirectory() || folder.name === 'journal') continue;
    for (const file of readdirSync(join(path, folder.name))) {
      if (file.endsWith('.log')) readFileSync(join(path, folder.name, file));
    }
  }
  return performance.now() - began;
}

/** Runs this program in a mode of its own; the first line it says. With `kill`, it is killed then. */
async function child(mode: string, path: string, settings: Settings, kill: boolean): Promise<string> {
  const args = [
    mode,
    '--dir',
    path,
    '--partitions',
    String(settings.partitions),
    '--tail-kib',
    String(settings.tailBytes / KIB),
  ];
  const process = spawn('node', [fileURLToPath(import.meta.url), ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(process, 'exit');
  let said: string | undefined;
  for await (const line of createInterface({ input: process.stdout })) {
    said ??= line;
    if (kill) process.kill('SIGKILL');
  }
  const [code] = (await ended) as [number | null];
  if (said === undefined || (!kill && code !== 0)) throw new Error(`${mode} ended with ${code} before it was done`);
  return said;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    partitions: { type: 'string', default: '1000' },
    'tail-kib': { type: 'string', default: '1024' },
    rounds: { type: 'string', default: '3' },
    dir: { type: 'string' },
  },
});
const settings = { partitions: Number(values.partitions), tailBytes: Number(values['tail-kib']) * KIB };
if (positionals[0] === 'fill') {
  await fill(values.dir!, settings);
} else if (positionals[0] === 'open') {
  await open(values.dir!);
} else {
  const opening: number[] = [];
  const reading: number[] = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    const path = await mkdtemp(join(values.dir ?? tmpdir(), 'varve-tails-'));
    try {
      await child('fill', path, settings, true);
      reading.push(readAll(path));
      opening.push(Number(await child('open', path, settings, false)));
    } finally {
      await rm(path, { recursive: true, force: true });
    }
  }
  const figure = (times: readonly number[]) => {
    const { median, min, max } = spread(times)!;
    return `${median.toFixed(0)} ms (${min.toFixed(0)}–${max.toFixed(0)})`;
  };
  const ratio = spread(opening.map((time, i) => time / reading[i]!))!;
  console.log(
    `${settings.partitions} partitions, ${settings.tailBytes / KIB} KiB of unsynced tail each, after kill -9`,
  );
  console.log(`opening the store     ${figure(opening)}`);
  console.log(`reading the same bytes ${figure(reading)}, from the page cache`);
  console.log(`opening ÷ reading     ${ratio.median.toFixed(1)} (${ratio.min.toFixed(1)}–${ratio.max.toFixed(1)})`);
}
