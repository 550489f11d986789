// A file system of 64 MiB, filled to the brim: producers get DISK_FULL, everything else goes on, space is freed, and
// appends go on. Nothing that was acknowledged is lost, also if the process dies while the disk is full.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { VarveError } from '../../src/errors.js';
import type { Log } from '../../src/log/log.js';
import { openStore, type Store } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { leave, noExt4, noSmallDisk, smallDisk, smallExt4 } from '../disk/small-disk.js';
import { crashImage } from './crash-image.js';

const MIB = 1024 * 1024;
const DISK_BYTES = 64 * MIB;
const OPTIONS = { create: true, journalFileBytes: MIB, journalMaxBytes: 4 * MIB };
const LOG_OPTIONS = { segmentBytes: MIB };
const VALUE_BYTES = 16 * 1024;

function recordValue(offset: number): string {
  return `${offset}:`.padEnd(VALUE_BYTES, 'x');
}

/** Appends with 8 callers until the disk is full for all of them. @returns how far the log was acknowledged */
async function fill(log: Log): Promise<number> {
  let acknowledged = log.end;
  for (;;) {
    const base = log.end;
    const round = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) => log.append([{ value: recordValue(base + i) }])),
    );
    for (const result of round) {
      if (result.status === 'fulfilled') acknowledged = Math.max(acknowledged, result.value.lastOffset + 1);
      else expect(result.reason).toMatchObject({ name: 'VarveError', code: 'DISK_FULL', retriable: true });
    }
    if (round.every(({ status }) => status === 'rejected')) return acknowledged;
  }
}

/** Reads everything and compares it. */
async function check(log: Log, upTo: number): Promise<void> {
  let offset = log.start;
  while (offset < upTo) {
    const { records, nextOffset } = await log.read(offset);
    for (const record of records) {
      expect(record.offset).toBe(offset++);
      // The values of a round that was refused in part were numbered one by one.
      expect(record.value!.length).toBe(VALUE_BYTES);
      expect(Number(String(record.value).split(':')[0])).toBeGreaterThanOrEqual(record.offset);
    }
    expect(nextOffset).toBe(offset);
  }
}

async function appendWhenThereIsSpace(store: Store, log: Log): Promise<number> {
  for (;;) {
    await store.whenSpace();
    try {
      return (await log.append([{ value: recordValue(log.end) }])).lastOffset + 1;
    } catch (error) {
      if (!(error instanceof VarveError) || error.code !== 'DISK_FULL') throw error;
    }
  }
}

const FILE_SYSTEMS = [
  { name: 'tmpfs', skip: noSmallDisk, mount: smallDisk },
  { name: 'ext4', skip: noExt4, mount: smallExt4 },
];

for (const { name, skip, mount } of FILE_SYSTEMS) {
  test.skipIf(skip)(
    `${name} of 64 MiB, filled to the brim: nothing acknowledged is lost, and it recovers`,
    async () => {
      const path = join(await mount(DISK_BYTES), 'store');
      const store = await openStore(path, OPTIONS);
      const logs = [await store.openLog('t', 0, LOG_OPTIONS), await store.openLog('t', 1, LOG_OPTIONS)] as const;
      const follower = await store.openLog('f', 0, { ...LOG_OPTIONS, replicated: true });
      const builder = new BatchBuilder();
      for (let i = 0; i < 3; i++) {
        builder.append(1, null, 'to be cut');
        const batch = builder.finish();
        follower.appendProduced(batch, 0, batch.length, 1);
      }

      const acknowledged = [await fill(logs[0]), await fill(logs[1])] as const;
      expect(acknowledged[0] * VALUE_BYTES).toBeGreaterThan(DISK_BYTES / 4);
      expect([store.stats().full, store.failed]).toEqual([true, undefined]);
      await check(logs[0], acknowledged[0]);
      await check(logs[1], acknowledged[1]);

      // What must not wait for space: a vote, a truncation, a checkpoint.
      await new Promise<void>((resolve) => follower.saveHardState({ term: 2, vote: 1 }, resolve));
      follower.truncate(1);
      await store.checkpoint();
      expect([follower.end, store.failed]).toEqual([1, undefined]);

      // A process that dies now loses nothing.
      const image = await openStore(crashImage(path), OPTIONS);
      for (const [partition, log] of logs.entries()) {
        const found = await image.openLog('t', partition, LOG_OPTIONS);
        expect([found.start, found.recovery.damaged]).toEqual([log.start, []]);
        expect(found.end).toBeGreaterThanOrEqual(acknowledged[partition]!);
        await check(found, acknowledged[partition]!);
      }
      await image.close();

      const before = logs[0].end;
      await logs[0].deleteBefore(Math.floor(acknowledged[0] / 2));
      const after = [await appendWhenThereIsSpace(store, logs[0]), await appendWhenThereIsSpace(store, logs[1])];
      expect(after[0]).toBeGreaterThan(before);
      await store.close();

      const again = await openStore(path, OPTIONS);
      for (const [partition, end] of after.entries()) {
        const found = await again.openLog('t', partition, LOG_OPTIONS);
        expect([found.recovery.clean, found.end]).toEqual([true, end]);
        await check(found, end);
      }
      expect((await again.openLog('f', 0, { ...LOG_OPTIONS, replicated: true })).hardState).toEqual({
        term: 2,
        vote: 1,
      });
      await again.close();
    },
  );
}

test.skipIf(noSmallDisk)(
  'a journal without space gives up the reserve: what is pending is acknowledged, producers are refused',
  async () => {
    const path = await smallDisk(12 * MIB);
    const store = await openStore(path, { ...OPTIONS, checkpointIntervalMs: 3_600_000 });
    const log = await store.openLog('t', 0, { segmentBytes: 4 * MIB });
    // The segment has space for what follows, the journal has not.
    while (log.end < 100) await log.append([{ value: recordValue(log.end) }]);
    await store.checkpoint();
    await leave(path, 64 * 1024);
    const appends = Array.from({ length: 60 }, () => log.append([{ value: recordValue(log.end) }]));
    await Promise.all(appends);
    await expect(
      (async () => {
        for (let i = 0; i < 200; i++) await log.append([{ value: recordValue(log.end) }]);
      })(),
    ).rejects.toMatchObject({ code: 'DISK_FULL' });
    expect(store.failed).toBe(undefined);
    await store.close();
    const again = await openStore(path, OPTIONS);
    const found = await again.openLog('t', 0, { segmentBytes: 4 * MIB });
    expect(found.recovery.clean).toBe(true);
    expect(found.end).toBeGreaterThanOrEqual(160);
    await again.close();
  },
);

test.skipIf(noSmallDisk)(
  'settings that cannot fit the disk are refused with the sizes, and nothing is made',
  async () => {
    const path = await smallDisk(8 * MIB);
    const tooLarge = openStore(path, { create: true, journalFileBytes: 4 * MIB });
    await expect(tooLarge).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(
        /journalFileBytes \(4194304\), reserveBytes \(6291456\).* 14745600 bytes, .* 8388608/,
      ),
    });
    await leave(path, MIB);
    await expect(openStore(path, { create: true, journalFileBytes: MIB })).rejects.toMatchObject({
      code: 'DIRECTORY_MISMATCH',
    });
    const beside = join(path, 'store');
    await expect(openStore(beside, { create: true, journalFileBytes: MIB })).rejects.toMatchObject({
      code: 'DISK_FULL',
      message: expect.stringMatching(/journalFileBytes \(1048576\), reserveBytes \(3145728\).* bytes free/),
    });
    await (await openStore(beside, { create: true, journalFileBytes: 64 * 1024, reserveBytes: 0 })).close();
  },
);
