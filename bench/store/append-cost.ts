/**
 * What an append costs that nobody waits to see on disk (flush 'none'), through the TypeScript API: an encoded batch of 1
 * KiB beside `fs.writeSync` of the same bytes to an open file, and one of 64 KiB inside a prepared segment beside a bare
 * copy into such a mapping (the segment's own append: one native call around memcpy).
 */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { openDisk } from '../../src/disk/native-disk.js';
import { type Log, openStore } from '../../src/main.js';
import { encodedBatch } from './records.js';
import type { OpenScenario, Scenario, Variant } from './scenario.js';

const SMALL_BYTES = 1024;
const LARGE_BYTES = 64 * 1024;
const SMALL_COUNT = 32 * 1024;
const LARGE_COUNT = 1024;
const BURST_BYTES = 1024 * 1024;
const SEGMENT_BYTES = 256 * 1024 * 1024;
/** A little more than one measurement stores. */
const PREPARED_BYTES = LARGE_BYTES * (LARGE_COUNT + 16);

const APPEND = 'varve append';
const WRITE = 'fs.writeSync';
const COPY = 'copy into a mapping';

export function appendCosts(): Scenario[] {
  return [
    {
      name: 'append-1k',
      title: 'an encoded batch of 1 KiB, not durable',
      unit: 'ns/append',
      higherIsBetter: false,
      checks: [{ says: 'append ÷ fs.writeSync of the same bytes', value: APPEND, references: [WRITE], atMost: 3 }],
      open: openSmall,
    },
    {
      name: 'append-64k',
      title: 'an encoded batch of 64 KiB, not durable, inside a prepared segment',
      unit: 'MB/s',
      higherIsBetter: true,
      checks: [
        { says: 'append ÷ copy into the same kind of mapping', value: APPEND, references: [COPY], atLeast: 0.4 },
      ],
      open: openLarge,
    },
  ];
}

async function openSmall(folder: string): Promise<OpenScenario> {
  const store = await openStore(join(folder, 'store'), { create: true });
  const log = await store.openLog('appends', 0, { flush: 'none' });
  const batch = encodedBatch(SMALL_BYTES);
  const fd = openSync(join(folder, 'file'), 'wx');
  const variants: Variant[] = [
    {
      name: WRITE,
      async measure() {
        ftruncateSync(fd, 0);
        const took = elapsed(() => {
          for (let i = 0; i < SMALL_COUNT; i++) writeSync(fd, batch, 0, batch.length, i * batch.length);
        });
        return (took * 1e6) / SMALL_COUNT;
      },
    },
    {
      name: APPEND,
      async measure() {
        const took = await appendMany(log, batch, SMALL_COUNT);
        return (took * 1e6) / SMALL_COUNT;
      },
    },
  ];
  return {
    variants,
    async close() {
      closeSync(fd);
      await store.close();
    },
  };
}

async function openLarge(folder: string): Promise<OpenScenario> {
  const store = await openStore(join(folder, 'store'), { create: true });
  const log = await store.openLog('appends', 0, { flush: 'none', segmentBytes: SEGMENT_BYTES });
  const batch = encodedBatch(LARGE_BYTES);
  await mkdir(join(folder, 'mappings'));
  const disk = await openDisk(join(folder, 'mappings'));
  let mappings = 0;
  const rate = (took: number) => (LARGE_BYTES * LARGE_COUNT) / took / 1000;
  const variants: Variant[] = [
    {
      name: COPY,
      async measure() {
        const path = `${String(mappings++).padStart(20, '0')}.log`;
        const segment = disk.createSegment(path, { reserveBytes: SEGMENT_BYTES });
        segment.prepare(PREPARED_BYTES);
        // Behind the preparing job of the same file.
        await segment.sync();
        const took = elapsed(() => {
          for (let i = 0; i < LARGE_COUNT; i++) segment.append(batch, 0, batch.length);
        });
        segment.close();
        await disk.removeFiles([path]);
        return rate(took);
      },
    },
    { name: APPEND, measure: async () => rate(await appendMany(log, batch, LARGE_COUNT)) },
  ];
  return {
    variants,
    async close() {
      await disk.close();
      await store.close();
    },
  };
}

/**
 * Milliseconds of the appends alone, in bursts that stay inside what is prepared ahead. After each, what the journal's
 * thread does with them is waited for, so that it is not measured here; at the end the log is emptied.
 */
async function appendMany(log: Log, batch: Buffer, count: number): Promise<number> {
  const perTurn = Math.max(1, Math.floor(BURST_BYTES / batch.length));
  let took = 0;
  for (let done = 0; done < count; done += perTurn) {
    took += elapsed(() => {
      for (let i = 0; i < perTurn; i++) log.appendProduced(batch, 0, batch.length, 0);
    });
    await log.flush();
  }
  await log.deleteBefore(log.end);
  return took;
}

function elapsed(work: () => void): number {
  const began = performance.now();
  work();
  return performance.now() - began;
}
