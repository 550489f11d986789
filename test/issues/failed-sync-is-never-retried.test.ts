// A failed sync was told to its caller, but others went on: the directory sync of a journal file being prepared was tried a
// second time when the file was wanted (and met the file itself: INVARIANT_BROKEN), waiters for the same directory started
// another one, and after a failed sync of a checkpoint the journal still synced what was pending.
import { expect, test } from 'vitest';
import { Trace, type TraceEvent } from '../../src/disk/trace.js';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from '../log/crash-image.js';

const KIB = 1024;
const OPTIONS = { create: true, journalFileBytes: 64 * KIB, checkpointIntervalMs: 3_600_000 };

function syncsAfterLatch(events: readonly TraceEvent[]): string[] {
  const latch = events.findIndex(({ kind }) => kind === 'latch');
  expect(latch).toBeGreaterThan(0);
  return events.slice(latch).flatMap(({ kind, path }) => (kind === 'sync-begin' ? [path] : []));
}

test('the directory of a journal file that is being prepared', async () => {
  const trace = new Trace();
  const store = await openStore(temporaryDirectory(), { ...OPTIONS, trace });
  const log = await store.openLog('t', 0);
  await log.append([{ value: 'x' }]);
  trace.fail({ error: 'EIO', call: 1, kinds: ['sync-begin'], path: 'journal' });
  // Past the quarter of the file at which the next one is prepared, and past its end.
  const appends = Array.from({ length: 12 }, () => log.append([{ value: Buffer.alloc(16 * KIB, 'x') }]));
  for (const outcome of await Promise.allSettled(appends)) {
    if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'DISK_FAILED' });
  }
  await expect(log.append([{ value: 'y' }])).rejects.toMatchObject({ code: 'DISK_FAILED' });
  // What was not durable by then is lost, and closing says so.
  const reason = log.durable < log.end ? store.failed : undefined;
  expect(await store.close().catch((error: unknown) => error)).toBe(reason);
  expect(trace.injected).toBe(1);
  expect(syncsAfterLatch(trace.take())).toEqual([]);
});

test('the file of a checkpoint: the journal syncs nothing any more either', async () => {
  const trace = new Trace();
  const store = await openStore(temporaryDirectory(), { ...OPTIONS, trace });
  const logs = [await store.openLog('t', 0), await store.openLog('t', 1)];
  for (const log of logs) await log.append([{ value: 'x' }]);
  trace.fail({ error: 'EIO', call: 1, kinds: ['sync-begin'], path: 'checkpoint.tmp' });
  await expect(store.checkpoint()).rejects.toMatchObject({ code: 'DISK_FAILED' });
  for (const log of logs) await expect(log.append([{ value: 'y' }])).rejects.toMatchObject({ code: 'DISK_FAILED' });
  await store.close();
  expect(syncsAfterLatch(trace.take())).toEqual([]);
});
