// A log that is emptied because the others have deleted what it lacks: it goes on at their log start, and comes back like that
// from every kind of stop. The batch that holds the log start may begin below it.
import { expect, test } from 'vitest';
import { ControlKind, type Log } from '../../src/log/log.js';
import { openStore, type Store } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { stampBatch } from '../../src/record/record-batch.js';
import { crashImage, powerCutImage, temporaryDirectory } from './crash-image.js';

const MIB = 1024 * 1024;
const CONFIGURATION = { offset: 98, value: Buffer.from('1,2,3') };

async function openAt(path: string): Promise<{ store: Store; log: Log }> {
  const store = await openStore(path, {
    create: true,
    journalFileBytes: MIB,
    journalMaxBytes: 8 * MIB,
    checkpointIntervalMs: 3_600_000,
  });
  return { store, log: await store.openLog('t', 0, { segmentBytes: MIB, replicated: true }) };
}

function batch(base: number, epoch: number, records: number): Buffer {
  const builder = new BatchBuilder();
  for (let i = 0; i < records; i++) builder.append(1, null, Buffer.from(`${base + i}`));
  const bytes = Buffer.from(builder.finish());
  stampBatch(bytes, 0, base, epoch);
  return bytes;
}

function replicate(log: Log, ...batches: Buffer[]): void {
  const bytes = Buffer.concat(batches);
  log.appendReplicated(bytes, 0, bytes.length, 9);
}

/** A log with records 0 to 6, of which 0 to 2 are committed; all of it durable. */
async function oldLog(path: string): Promise<{ store: Store; log: Log }> {
  const opened = await openAt(path);
  const { log } = opened;
  log.appendControl(ControlKind.Configuration, Buffer.from('1,2'), 1);
  replicate(log, batch(1, 1, 2), batch(3, 2, 4));
  await log.flush();
  log.advanceHighWatermark(3);
  return opened;
}

async function values(log: Log): Promise<string[]> {
  const { records } = await log.read(log.start);
  return records.map(({ value }) => String(value));
}

const EMPTIED = { start: 100, end: 100, highWatermark: 100, lastEpoch: 5, physicalStart: 100 };

test('a reset log starts and ends at the new log start, and knows only what it was given of the past', async () => {
  const { store, log } = await oldLog(temporaryDirectory());
  const { generation } = log;
  log.reset(100, 5, CONFIGURATION);
  expect(log).toMatchObject({ ...EMPTIED, generation: generation + 1 });
  // What is on disk is still the old log.
  expect(log.durable).toBe(7);
  await log.flush();
  expect(log).toMatchObject({ durable: 100, written: 100 });
  expect(log.configurations).toEqual([CONFIGURATION]);
  expect([log.epochAt(99), log.endForEpoch(4)]).toEqual([5, { epoch: -1, end: 100 }]);
  expect(() => log.reset(99, 5, undefined)).toThrow(/below the high watermark 100/);
  replicate(log, batch(100, 5, 2), batch(102, 6, 1));
  log.advanceHighWatermark(103);
  expect(await values(log)).toEqual(['100', '101', '102']);
  await store.close();
});

test('the batch that holds the log start comes as a whole, and readers see it from the log start on', async () => {
  const path = temporaryDirectory();
  const { store, log } = await oldLog(path);
  log.reset(100, 5, CONFIGURATION);
  replicate(log, batch(97, 5, 6), batch(103, 6, 1));
  expect(log).toMatchObject({ start: 100, end: 104, physicalStart: 97 });
  // Nothing of it was durable yet when the next came.
  await log.flush();
  expect(log).toMatchObject({ written: 104, durable: 104 });
  log.advanceHighWatermark(104);
  expect(await values(log)).toEqual(['100', '101', '102', '103']);
  // Replication sends all of it on, with the epoch before it unknown.
  expect(log.viewsFrom(97, MIB, 'end').nextOffset).toBe(104);
  expect(() => log.viewsFrom(97, MIB)).toThrow(/97/);
  expect([log.epochAt(96), log.epochAt(97), log.baseOf(101)]).toEqual([-1, 5, 97]);
  await store.checkpoint();
  await store.close();
  const again = await openAt(path);
  expect(again.log).toMatchObject({ start: 100, end: 104, physicalStart: 97, highWatermark: 104 });
  expect([again.log.epochAt(96), again.log.epochAt(97)]).toEqual([-1, 5]);
  expect(await values(again.log)).toEqual(['100', '101', '102', '103']);
  await again.store.close();
});

test('an append that begins below the end of a log which holds something is refused', async () => {
  const { store, log } = await oldLog(temporaryDirectory());
  expect(() => replicate(log, batch(5, 2, 4))).toThrow(/must start at 7/);
  log.reset(100, 5, CONFIGURATION);
  expect(() => replicate(log, batch(90, 5, 5))).toThrow(/must start at 100/);
  await store.close();
});

test.each(['kill', 'power cut'] as const)('a reset that is durable is there after a %s', async (stop) => {
  const path = temporaryDirectory();
  const { store, log } = await oldLog(path);
  log.reset(100, 5, CONFIGURATION);
  await log.flush();
  const image = stop === 'kill' ? crashImage(path) : powerCutImage(path, () => true, log.durable);
  await store.close();
  const { store: again, log: recovered } = await openAt(image);
  expect(recovered).toMatchObject(EMPTIED);
  expect(recovered.configurations).toEqual([CONFIGURATION]);
  replicate(recovered, batch(98, 5, 4));
  await recovered.flush();
  const twice = crashImage(image);
  await again.close();
  const { store: last, log: whole } = await openAt(twice);
  expect(whole).toMatchObject({ start: 100, end: 102, physicalStart: 98 });
  whole.advanceHighWatermark(102);
  expect(await values(whole)).toEqual(['100', '101']);
  await last.close();
});

test('a crash after the first batch behind a reset finds both, whether the batch was checkpointed or not', async () => {
  for (const checkpointed of [false, true]) {
    const path = temporaryDirectory();
    const { store, log } = await oldLog(path);
    log.reset(100, 5, CONFIGURATION);
    replicate(log, batch(97, 5, 6));
    if (checkpointed) await store.checkpoint();
    replicate(log, batch(103, 7, 2));
    log.appendControl(ControlKind.Configuration, Buffer.from('1,3'), 7);
    await log.flush();
    const image = crashImage(path);
    await store.close();
    const { store: again, log: recovered } = await openAt(image);
    expect(recovered).toMatchObject({ start: 100, end: 106, physicalStart: 97, lastEpoch: 7 });
    expect(recovered.configurations.map(({ offset }) => offset)).toEqual([98, 105]);
    recovered.truncate(103);
    expect(recovered.configurations).toEqual([CONFIGURATION]);
    await again.close();
  }
});

test('a reset that was closed cleanly opens again where it was', async () => {
  const path = temporaryDirectory();
  const { store, log } = await oldLog(path);
  log.reset(100, 5, CONFIGURATION);
  await store.close();
  const { store: again, log: opened } = await openAt(path);
  expect(opened).toMatchObject(EMPTIED);
  replicate(opened, batch(99, 5, 2));
  expect(opened.end).toBe(101);
  await again.close();
});
