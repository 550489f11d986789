// Until a truncation is durable, nothing above its cut counts as written: a crash brings the old bytes back. A second
// truncation at a higher offset, with the first still on its way to the disk, raised that limit to its own cut.
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { temporaryDirectory } from '../log/crash-image.js';

function batch(): Buffer {
  const builder = new BatchBuilder();
  builder.append(1, null, 'x');
  return builder.finish();
}

test('what follows a truncation that is not durable does not count as written after another truncation', async () => {
  const store = await openStore(`${temporaryDirectory()}/store`, { create: true });
  const log = await store.openLog('events', 0, { flush: 'async', replicated: true });
  const append = (count: number, epoch: number) => {
    for (let i = 0; i < count; i++) {
      const bytes = batch();
      log.appendProduced(bytes, 0, bytes.length, epoch);
    }
  };
  append(10, 1);
  expect(log.written).toBe(10);
  log.truncate(5);
  append(5, 2);
  log.truncate(8);
  append(1, 3);
  expect([log.end, log.written]).toEqual([9, 5]);
  await log.flush();
  expect([log.end, log.written]).toEqual([9, 9]);
  await store.close();
});
