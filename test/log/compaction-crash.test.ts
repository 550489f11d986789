// The whole of it at once: many records over 1,000 keys, compacted while the store is killed before every step that changes
// a file. COMPACTION_RECORDS=1000000 is the run whose figures are quoted; a run of all tests takes 20,000.
import { rmSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Disk } from '../../src/disk/disk.js';
import { bootId, openDisk } from '../../src/disk/native-disk.js';
import type { Log } from '../../src/log/log.js';
import { openStore } from '../../src/log/store.js';
import { Store } from '../../src/log/partition-store.js';
import { COMPRESSIONS, type RecordInput, type Record as StoredRecord } from '../../src/record/types.js';
import { wallClock } from '../wall-clock.js';
import { crashImage, temporaryDirectory } from './crash-image.js';

const MIB = 1024 * 1024;
const COUNT = Number(process.env['COMPACTION_RECORDS'] ?? 20_000);
const KEYS = 1000;
const PER_BATCH = 200;
const RETENTION_MS = 3_600_000;
const STORE = { create: true, checkpointIntervalMs: 3_600_000, journalFileBytes: 4 * MIB } as const;
const LOG = { segmentBytes: MIB, cleanup: 'compact', deleteRetentionMs: RETENTION_MS } as const;
/** The calls of the disk interface that change something. */
const CHANGES: ReadonlySet<keyof Disk> = new Set(['writeFile', 'replaceFile', 'rename', 'removeFiles']);

function keyAt(offset: number): string {
  return `key ${(offset * 7919) % KEYS}`;
}

/** Every seventh key ends with a tombstone. */
function valueAt(offset: number): string | null {
  const isLast = offset >= COUNT - KEYS;
  return isLast && offset % 7 === 0 ? null : `value ${offset}`;
}

function inputAt(offset: number): RecordInput {
  return { key: keyAt(offset), value: valueAt(offset), timestamp: 1_700_000_000_000 + offset };
}

/** A disk that calls `before` ahead of every change. */
function watched(disk: Disk, before: (call: string) => Promise<void>): Disk {
  return new Proxy(disk, {
    get(target, name: keyof Disk & string) {
      const member = target[name] as unknown;
      if (typeof member !== 'function') return member;
      if (!CHANGES.has(name)) return member.bind(target);
      return async (...values: unknown[]) => {
        await before(`${name} ${String(values[0])}`);
        return Reflect.apply(member, target, values);
      };
    },
  });
}

async function forEachRecord(log: Log, visit: (record: StoredRecord) => void): Promise<void> {
  for (let offset = log.start; offset < log.end; ) {
    const { records, nextOffset } = await log.read(offset);
    for (const record of records) visit(record);
    offset = nextOffset;
  }
}

/** All records as they were given, each key's last one among them. @returns their number */
async function checkContents(log: Log, tombstones: boolean): Promise<number> {
  expect([log.start, log.end]).toEqual([0, COUNT]);
  let count = 0;
  let wrong = 0;
  let last = 0;
  await forEachRecord(log, ({ offset, timestamp, key, value }) => {
    count++;
    if (offset >= COUNT - KEYS) last++;
    const isRight =
      String(key) === keyAt(offset) &&
      (value === null ? null : String(value)) === valueAt(offset) &&
      timestamp === 1_700_000_000_000 + offset;
    if (!isRight) wrong++;
  });
  expect(wrong).toBe(0);
  let expected = KEYS;
  for (let offset = COUNT - KEYS; offset < COUNT; offset++) if (!tombstones && valueAt(offset) === null) expected--;
  expect(last).toBe(expected);
  return count;
}

test(`${COUNT} records over ${KEYS} keys: killed before any step, the log holds the last record of every key`, async () => {
  const path = temporaryDirectory();
  let now = 1_800_000_000_000;
  const steps: string[] = [];
  let watching = false;
  let fewest = COUNT;
  const disk = watched(await openDisk(path), async (call) => {
    if (!watching) return;
    steps.push(call);
    const image = crashImage(path);
    const store = await openStore(image, STORE);
    const log = await store.openLog('t', 0, LOG);
    expect(log.recovery.damaged, call).toEqual([]);
    const count = await checkContents(log, true);
    // Nothing comes back.
    expect(count, call).toBeLessThanOrEqual(fewest);
    fewest = count;
    await store.close();
    rmSync(image, { recursive: true, force: true });
  });
  const store = await Store.open({ disk, path, bootId: bootId(), environment: wallClock(() => now) }, STORE);
  const log = await store.openLog('t', 0, LOG);
  let pending: Promise<unknown>[] = [];
  for (let offset = 0; offset < COUNT; offset += PER_BATCH) {
    const records = Array.from({ length: PER_BATCH }, (_, i) => inputAt(offset + i));
    pending.push(log.append(records, { compression: COMPRESSIONS[(offset / PER_BATCH) % COMPRESSIONS.length]! }));
    if (pending.length === 256) {
      await Promise.all(pending);
      pending = [];
    }
  }
  await Promise.all(pending);

  watching = true;
  const report = await log.compact();
  await store.checkpoint();
  watching = false;
  expect(report).toMatchObject({ end: 'complete', to: COUNT, recordsKept: KEYS, recordsRemoved: COUNT - KEYS });
  expect(await checkContents(log, true)).toBe(KEYS);
  expect(steps.some((step) => step.startsWith('rename'))).toBe(true);
  expect(steps.filter((step) => step.startsWith('writeFile')).length).toBeGreaterThanOrEqual(report.segmentsAfter);

  now += RETENTION_MS - 1;
  await log.compact();
  expect(await checkContents(log, true)).toBe(KEYS);
  now += 1;
  await log.compact();
  expect(await checkContents(log, false)).toBe(
    Array.from({ length: KEYS }, (_, i) => COUNT - 1 - i).filter((o) => valueAt(o) !== null).length,
  );
  await store.close();
  if (COUNT > 20_000) console.log(`${steps.length} kills`, report);
}, 3_600_000);
