// A failed write or sync latches; a full disk recovers by itself.
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { crashImage, temporaryDirectory } from './crash-image.js';
import { Faults, openFailing } from './failing-disk.js';

const MIB = 1024 * 1024;
const OPTIONS = { create: true, journalFileBytes: MIB, journalMaxBytes: 4 * MIB, checkpointIntervalMs: 3_600_000 };

test('after a failed sync pending and later appends fail, reads go on, and nothing acknowledged is lost', async () => {
  const path = temporaryDirectory();
  const faults = new Faults();
  const store = await openFailing(path, faults, OPTIONS);
  const log = await store.openLog('t', 0);
  await log.append([{ value: 'kept' }]);
  const reported: Error[] = [];
  store.onFailure = (error) => reported.push(error);
  const pending = log.append([{ value: 'unknown' }]);
  const refused = expect(pending).rejects.toMatchObject({ code: 'DISK_FAILED' });
  faults.failJournal('fdatasync: input/output error');
  await refused;
  expect(store.failed).toMatchObject({ code: 'DISK_FAILED', message: expect.stringContaining('input/output error') });
  expect(reported).toEqual([store.failed]);
  await expect(log.append([{ value: 'later' }])).rejects.toBe(store.failed);
  await expect(log.whenWritable()).rejects.toBe(store.failed);
  expect(() => log.saveHardState({ term: 1, vote: 1 }, () => {})).toThrow(store.failed);
  expect(() => log.truncate(0)).toThrow(store.failed);
  await expect(store.openLog('t', 1)).rejects.toBe(store.failed);
  expect((await log.read(0)).records.map((record) => String(record.value))).toEqual(['kept']);
  await expect(store.close()).rejects.toBe(store.failed);

  const again = await openStore(path, OPTIONS);
  const found = await again.openLog('t', 0);
  expect(found.recovery.clean).toBe(false);
  expect(String((await found.read(0)).records[0]!.value)).toBe('kept');
  await again.close();
});

test('no space for a new segment refuses the append, changes nothing, and is over when space returns', async () => {
  const faults = new Faults();
  const store = await openFailing(temporaryDirectory(), faults, { ...OPTIONS, reserveBytes: 0 });
  const log = await store.openLog('t', 0, { segmentBytes: MIB });
  for (let i = 0; i < 10; i++) await log.append([{ value: 'x'.repeat(100_000) }]);
  faults.fail('createSegment', '.log', 'DISK_FULL');
  await expect(log.append([{ value: 'x'.repeat(100_000) }])).rejects.toMatchObject({
    code: 'DISK_FULL',
    retriable: true,
  });
  expect([log.end, store.failed]).toEqual([10, undefined]);
  // A truncation needs a new segment as well.
  const builder = new BatchBuilder();
  builder.append(1, null, 'y');
  const batch = builder.finish();
  faults.heal();
  log.appendProduced(batch, 0, batch.length, 0);
  faults.fail('createSegment', '.log', 'DISK_FULL');
  const { generation, end } = log;
  expect(() => log.truncate(10)).toThrow(expect.objectContaining({ code: 'DISK_FULL' }));
  expect([log.generation, log.end]).toEqual([generation, end]);
  faults.heal();
  expect((await log.append([{ value: 'z' }])).baseOffset).toBe(11);
  await store.close();
});

test('a checkpoint that finds no space is made later, and what it would have covered is safe meanwhile', async () => {
  const path = temporaryDirectory();
  const faults = new Faults();
  const store = await openFailing(path, faults, OPTIONS);
  const log = await store.openLog('t', 0, { segmentBytes: MIB });
  for (let i = 0; i < 12; i++) await log.append([{ value: 'x'.repeat(100_000) }]);
  faults.fail('replaceFile', '.index', 'DISK_FULL');
  await store.checkpoint();
  expect([store.failed, store.stats().checkpoints]).toEqual([undefined, 0]);
  const image = crashImage(path);
  faults.heal();
  await store.checkpoint();
  expect(store.stats().checkpoints).toBe(1);
  await store.close();

  const again = await openStore(image, OPTIONS);
  expect((await again.openLog('t', 0)).end).toBe(12);
  await again.close();
});

test('a checkpoint that fails otherwise latches the store', async () => {
  const faults = new Faults();
  const store = await openFailing(temporaryDirectory(), faults, OPTIONS);
  const log = await store.openLog('t', 0);
  await log.append([{ value: 'x' }]);
  faults.fail('replaceFile', 'checkpoint', 'DISK_FAILED');
  await expect(store.checkpoint()).rejects.toMatchObject({ code: 'DISK_FAILED' });
  await expect(log.append([{ value: 'y' }])).rejects.toMatchObject({ code: 'DISK_FAILED' });
  await store.close();
});

test('a store that cannot open lets go of the directory', async () => {
  const path = temporaryDirectory();
  await (await openStore(path, OPTIONS)).close();
  const faults = new Faults();
  faults.fail('replaceFile', 'checkpoint', 'DISK_FAILED');
  await expect(openFailing(path, faults, OPTIONS)).rejects.toMatchObject({ code: 'DISK_FAILED' });
  await (await openStore(path, OPTIONS)).close();
});
