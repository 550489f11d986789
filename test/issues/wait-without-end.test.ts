// A timer cannot wait longer than 2^31 − 1 ms: asked for more, Node.js waits one millisecond. A read that was to wait
// "for ever" came back at once with nothing, and whoever reads in a loop was kept busy.
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from '../log/crash-image.js';

test.each([2 ** 31, Number.POSITIVE_INFINITY])('a read that may wait %d ms waits for the next record', async (wait) => {
  const store = await openStore(`${temporaryDirectory()}/store`, { create: true });
  const log = await store.openLog('events', 0);
  const read = log.read(0, { minBytes: 1, maxWaitMs: wait });
  // Timers fire in order, so one of 1 ms would be over.
  await new Promise((resolve) => setTimeout(resolve, 5));
  await log.append([{ value: 'x' }]);
  expect((await read).records).toHaveLength(1);
  await store.close();
});
