// A journal that has no space for its next file waits for it. Closing waited for the journal, and nothing told it that
// nobody would come and make space: a store, and a node that got SIGTERM, never ended.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { batchOf, TestCluster } from '../cluster/harness.js';
import { leave, noSmallDisk, smallDisk } from '../disk/small-disk.js';
import { temporaryDirectory } from '../log/crash-image.js';

const KIB = 1024;
const DISK_BYTES = 6144 * KIB;
/** Without a reserve: with one, there would be space. */
const OPTIONS = { create: true, journalFileBytes: 64 * KIB, checkpointIntervalMs: 3_600_000, reserveBytes: 0 };
const VALUE = 'x'.repeat(20 * KIB);
/** More than the journal file at hand and the next two take. */
const COUNT = 16;

test.skipIf(noSmallDisk)('a store closes while its journal waits for space, and says what was lost', async () => {
  const path = await smallDisk(DISK_BYTES);
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0);
  // The segment has grown by more than the appends below need.
  while (log.end < 50) await log.append([{ value: VALUE }]);
  await leave(path, 16 * KIB);
  const appends = Array.from({ length: COUNT }, () => log.append([{ value: VALUE }]));
  const settled = Promise.allSettled(appends);
  await appends[0];
  await expect(store.close()).rejects.toMatchObject({ code: 'DISK_FAILED', cause: { code: 'DISK_FULL' } });
  const results = await settled;
  const acknowledged = results.filter(({ status }) => status === 'fulfilled').length;
  expect(acknowledged).toBeLessThan(COUNT);
  for (const result of results.slice(acknowledged)) {
    expect(result).toMatchObject({ status: 'rejected', reason: { name: 'VarveError', code: 'DISK_FAILED' } });
  }

  await rm(join(path, 'ballast'));
  const again = await openStore(path, OPTIONS);
  const found = await again.openLog('t', 0);
  expect(found.recovery.clean).toBe(false);
  expect(found.recovery.damaged).toEqual([]);
  expect(found.end).toBeGreaterThanOrEqual(50 + acknowledged);
  await again.close();
});

test.skipIf(noSmallDisk)('a node stops while its journal waits for space', async () => {
  const dataDirectory = join(await smallDisk(DISK_BYTES), 'node');
  const cluster = await TestCluster.start(1, {
    dataDirectory,
    store: { journalFileBytes: 64 * KIB, reserveBytes: 0 },
  });
  const client = await cluster.client(await cluster.leader());
  for (let i = 0; i < 50; i++) await client.produce(batchOf(VALUE));
  await leave(join(dataDirectory, '..'), 16 * KIB);
  const produced = Array.from({ length: COUNT }, () => client.produce(batchOf(VALUE)));
  const settled = Promise.allSettled(produced);
  await produced[0];
  await expect(cluster.node(1).close()).rejects.toMatchObject({ code: 'DISK_FAILED' });
  expect((await settled).some(({ status }) => status === 'rejected')).toBe(true);
  await cluster.stopNode(1).catch(() => {});
  await cluster.close();
});

test('a store that is closed with much to do does all of it when there is space', async () => {
  const path = `${temporaryDirectory()}/store`;
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0);
  const appends = Array.from({ length: 50 }, () => log.append([{ value: VALUE }]));
  await Promise.all([...appends, store.close()]);

  const again = await openStore(path, OPTIONS);
  const found = await again.openLog('t', 0);
  expect(found.recovery.clean).toBe(true);
  expect(found.end).toBe(50);
  await again.close();
});
