// One sync serves everything that waits for one, whatever partition it belongs to.
import { expect, test } from 'vitest';
import { openStore, Store } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { TwinDisk } from '../sim/twin-disk.js';
import { TwinFileSystem } from '../sim/twin-file-system.js';
import { PromptScheduler } from '../sim/twin-schedulers.js';
import { crashImage, journalRecords, temporaryDirectory } from './crash-image.js';

const OPTIONS = { create: true, checkpointIntervalMs: 3_600_000, journalFileBytes: 8 * 1024 * 1024 };
const PARTITIONS = 512;

test('128 bytes or 4 KiB pending in each of 512 partitions are made durable by one sync', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, OPTIONS);
  const partitions = Array.from({ length: PARTITIONS }, (_, partition) => partition);
  const logs = await Promise.all(partitions.map((partition) => store.openLog('t', partition, { flush: 'none' })));
  const batches = [50, 4000].map((bytes) => {
    const builder = new BatchBuilder();
    builder.append(1, null, Buffer.alloc(bytes, 'x'));
    return Buffer.from(builder.finish());
  });
  await logs[0]!.flush();
  for (const batch of batches) {
    const before = store.stats().journal;
    for (const log of logs) log.appendProduced(batch, 0, batch.length, 0);
    await logs[0]!.flush();
    const { syncs, records } = store.stats().journal;
    expect(records - before.records).toBe(PARTITIONS);
    // A MiB of pending bytes is written without waiting for anybody: that group is one more, but no sync.
    expect(syncs - before.syncs).toBe(1);
    expect(logs.every((log) => log.durable === log.end)).toBe(true);
  }
  const image = crashImage(path);
  await store.close();
  const payloads = journalRecords(image).map(({ payload }) => payload);
  for (const batch of batches) {
    expect(payloads.filter((payload) => payload.equals(stamped(batch, payload))).length).toBe(PARTITIONS);
  }
}, 120_000);

/** The batch as the log stamped it: only what lies behind the checksum is the producer's. */
function stamped(batch: Buffer, payload: Buffer): Buffer {
  if (payload.length !== batch.length) return Buffer.alloc(0);
  return Buffer.concat([payload.subarray(0, 17), batch.subarray(17)]);
}

test('callers that append at the same time share a sync; a lone one has its own, at once', async () => {
  // The twin's journal takes its turn when the callers had theirs, however fast its disk is.
  const disk = new TwinDisk(new TwinFileSystem(), { scheduler: new PromptScheduler() });
  const store = await Store.open({ disk, path: '/twin', bootId: 'boot 1' }, OPTIONS);
  const log = await store.openLog('t', 0);
  const { syncs } = store.stats().journal;
  await log.append([{ value: 'alone' }]);
  expect(store.stats().journal.syncs).toBe(syncs + 1);
  await Promise.all(Array.from({ length: 64 }, () => log.append([{ value: 'x'.repeat(1000) }])));
  expect(store.stats().journal.syncs).toBe(syncs + 2);
  await store.close();
});
