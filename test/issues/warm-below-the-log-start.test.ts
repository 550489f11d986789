// The log start may lie inside a batch, and replication sends that batch as a whole. It was not read ahead, so a cold one
// was read from the disk on the event loop.
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from '../log/crash-image.js';

test('the batch that holds the log start is read ahead for replication', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, { create: true });
  const log = await store.openLog('t', 0);
  await log.append(Array.from({ length: 10 }, (_, i) => ({ value: `${i}` })));
  await log.deleteBefore(5);
  await store.close();

  const reopened = await openStore(path);
  const cold = await reopened.openLog('t', 0);
  expect([cold.physicalStart, cold.start]).toEqual([0, 5]);
  const warmed = cold.warm(cold.physicalStart, 1000);
  expect(warmed).toBeInstanceOf(Promise);
  await warmed;
  expect(cold.viewsFrom(cold.physicalStart, 1000, 'end').nextOffset).toBe(10);
  await reopened.close();
});
