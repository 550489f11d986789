// A segment that could not be created for another reason than space refused one append with DISK_FAILED ("nothing is accepted
// until reopened"), and the next append was accepted.
import { expect, test } from 'vitest';
import { Trace } from '../../src/disk/trace.js';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from '../log/crash-image.js';

test('an I/O error at the creation of a segment fails the store', async () => {
  const trace = new Trace();
  const store = await openStore(temporaryDirectory(), { create: true, trace });
  const log = await store.openLog('t', 0, { segmentBytes: 1024 * 1024 });
  for (let i = 0; i < 10; i++) await log.append([{ value: Buffer.alloc(100_000, 'x') }]);
  trace.fail({ error: 'EIO', call: 1, kinds: ['create'], path: '.log' });
  await expect(log.append([{ value: Buffer.alloc(100_000, 'x') }])).rejects.toMatchObject({ code: 'DISK_FAILED' });
  expect(store.failed).toMatchObject({ code: 'DISK_FAILED' });
  await expect(log.append([{ value: 'small' }])).rejects.toBe(store.failed);
  await store.close();
});
