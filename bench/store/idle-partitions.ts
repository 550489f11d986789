/**
 * What thousands of open partitions with one record each cost: disk, memory over the process without them, descriptors,
 * threads; and what 64 of them, chosen at random, then take.
 *
 *   node --expose-gc dist/bench/store/idle-partitions.js [--partitions 5000] [--dir FOLDER]
 *
 * Ends with 1 when they take more than 1 GiB of disk, or more than 64 KiB of memory each.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { lstat, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Log } from '../../src/log/log.js';
import { openStore } from '../../src/log/store.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const DISK_MAX_BYTES = 1024 * MIB;
const MEMORY_MAX_BYTES = 64 * KIB;
const BUSY_PARTITIONS = 64;
const BUSY_MS = 2000;
const BATCH_RECORDS = 16;
const IN_FLIGHT = 4;
const OPENED_AT_ONCE = 32;

export interface IdleCost {
  readonly diskBytes: number;
  readonly memoryBytesEach: number;
  readonly descriptors: number;
  readonly threads: number;
  readonly openMs: number;
  readonly reopenMs: number;
  readonly busyBytesPerSecond: number;
}

function resident(): number {
  global.gc?.();
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * KIB;
}

function threads(): number {
  return readdirSync('/proc/self/task').length;
}

async function diskUse(path: string): Promise<number> {
  const entries = await readdir(path, { recursive: true });
  let bytes = 0;
  for (const entry of entries) {
    // The store's own threads rename files meanwhile.
    const found = await lstat(join(path, entry)).catch(() => undefined);
    bytes += (found?.blocks ?? 0) * 512;
  }
  return bytes;
}

async function openAll(
  path: string,
  count: number,
): Promise<{ store: Awaited<ReturnType<typeof openStore>>; logs: Log[] }> {
  const store = await openStore(path, { create: true });
  const logs: Log[] = [];
  for (let first = 0; first < count; first += OPENED_AT_ONCE) {
    const partitions = Array.from({ length: Math.min(OPENED_AT_ONCE, count - first) }, (_, i) => first + i);
    logs.push(...(await Promise.all(partitions.map((partition) => store.openLog('t', partition)))));
  }
  return { store, logs };
}

/** Appends to random ones at full speed. @returns bytes per second */
async function busy(logs: readonly Log[]): Promise<number> {
  const chosen = new Set<Log>();
  while (chosen.size < Math.min(BUSY_PARTITIONS, logs.length))
    chosen.add(logs[Math.floor(Math.random() * logs.length)]!);
  const records = Array.from({ length: BATCH_RECORDS }, () => ({ value: Buffer.alloc(KIB, 7) }));
  const began = performance.now();
  let bytes = 0;
  const caller = async (log: Log): Promise<void> => {
    while (performance.now() - began < BUSY_MS) {
      await log.append(records);
      bytes += BATCH_RECORDS * KIB;
    }
  };
  await Promise.all([...chosen].flatMap((log) => Array.from({ length: IN_FLIGHT }, () => caller(log))));
  return bytes / ((performance.now() - began) / 1000);
}

export async function idleCost(folder: string, count: number): Promise<IdleCost> {
  const path = join(folder, 'data');
  const empty = await openStore(join(folder, 'empty'), { create: true });
  await (await empty.openLog('t', 0)).append([{ value: 'x' }]);
  const before = resident();
  const beforeThreads = threads();
  const began = performance.now();
  const { store, logs } = await openAll(path, count);
  await Promise.all(logs.map((log) => log.append([{ value: 'one record' }])));
  await store.checkpoint();
  const openMs = performance.now() - began;
  const memoryBytesEach = (resident() - before) / count;
  const cost = {
    diskBytes: await diskUse(path),
    memoryBytesEach,
    descriptors: readdirSync('/proc/self/fd').length,
    threads: threads() - beforeThreads,
  };
  const busyBytesPerSecond = await busy(logs);
  await store.close();
  await empty.close();
  const again = performance.now();
  const reopened = await openAll(path, count);
  const reopenMs = performance.now() - again;
  await reopened.store.close();
  return { ...cost, openMs, reopenMs, busyBytesPerSecond };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { partitions: { type: 'string', default: '5000' }, dir: { type: 'string', default: tmpdir() } },
  });
  const count = Number(values.partitions);
  const folder = await mkdtemp(join(values.dir, 'varve-idle-'));
  try {
    const cost = await idleCost(folder, count);
    console.log(`${count} partitions with one record each, made and checkpointed in ${cost.openMs.toFixed(0)} ms`);
    console.log(`disk: ${(cost.diskBytes / MIB).toFixed(0)} MiB in all`);
    console.log(`memory: ${(cost.memoryBytesEach / KIB).toFixed(1)} KiB each over a store with one`);
    console.log(`descriptors: ${cost.descriptors}, threads: ${cost.threads} more than for a store with one`);
    console.log(`64 random ones: ${(cost.busyBytesPerSecond / MIB).toFixed(0)} MiB/s, durable`);
    console.log(`opened again in ${cost.reopenMs.toFixed(0)} ms`);
    if (cost.diskBytes > DISK_MAX_BYTES || cost.memoryBytesEach > MEMORY_MAX_BYTES) process.exitCode = 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
