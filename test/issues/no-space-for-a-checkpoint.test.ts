// A full disk shows at the write of a checkpoint's temporary file, on which nobody relies; it failed the whole store.
import { expect, test } from 'vitest';
import { Trace } from '../../src/disk/trace.js';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from '../log/crash-image.js';

test('a checkpoint that finds no space for its file is made later', async () => {
  const trace = new Trace();
  const store = await openStore(temporaryDirectory(), { create: true, trace, checkpointIntervalMs: 3_600_000 });
  const log = await store.openLog('t', 0);
  await log.append([{ value: 'x' }]);
  trace.fail({ error: 'ENOSPC', call: 1, kinds: ['write'], path: 'checkpoint.tmp', repeat: true });
  await store.checkpoint();
  expect([store.failed, store.stats().checkpoints, trace.injected]).toEqual([undefined, 0, 1]);
  await log.append([{ value: 'y' }]);
  trace.heal();
  await store.checkpoint();
  expect(store.stats().checkpoints).toBe(1);
  await store.close();
});
