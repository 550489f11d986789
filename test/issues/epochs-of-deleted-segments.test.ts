// After a crash the epoch index was made of the checkpoint's and of what the segments hold. Segments that were rolled and
// deleted since the checkpoint are not there any more: an epoch that began in them was dated to the log start, and the
// record just before it, whose epoch a leader sends along when it replicates from there, to an older epoch.
import { expect, test } from 'vitest';
import type { Log } from '../../src/log/log.js';
import { openStore } from '../../src/log/store.js';
import { batchOf } from '../cluster/harness.js';
import { powerCutImage, temporaryDirectory } from '../log/crash-image.js';

const MIB = 1024 * 1024;
const OPTIONS = { create: true, journalFileBytes: MIB, checkpointIntervalMs: 3_600_000 };
const LOG = { segmentBytes: MIB, replicated: true };

async function append(log: Log, epoch: number, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const batch = batchOf('x'.repeat(200_000));
    log.appendProduced(batch, 0, batch.length, epoch);
  }
  await log.flush();
}

test('the epoch before the log start is known after a crash, though its segment is gone', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0, LOG);
  await append(log, 1, 2);
  await store.checkpoint();
  // Segments of five batches each: epoch 3 begins in the second one, and goes on in the third.
  await append(log, 1, 5);
  await append(log, 3, 8);
  log.advanceHighWatermark(log.end);
  await log.deleteBefore(10);
  const before = [log.epochAt(9), log.endForEpoch(1), log.endForEpoch(3)];
  expect(before).toEqual([3, { epoch: -1, end: 10 }, { epoch: 3, end: 15 }]);
  const image = powerCutImage(path, () => false);
  await store.close();

  const again = await openStore(image, OPTIONS);
  const found = await again.openLog('t', 0, LOG);
  expect([found.start, found.end]).toEqual([10, 15]);
  expect([found.epochAt(9), found.endForEpoch(1), found.endForEpoch(3)]).toEqual(before);
  await again.close();
});
