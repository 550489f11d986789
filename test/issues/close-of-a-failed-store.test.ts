// A store that had failed with accepted records in memory alone closed as if nothing was lost.
import { expect, test } from 'vitest';
import { Trace } from '../../src/disk/trace.js';
import { openStore } from '../../src/log/store.js';
import { batchOf, TestCluster, until } from '../cluster/harness.js';
import { temporaryDirectory } from '../log/crash-image.js';
import { Faults, openFailing } from '../log/failing-disk.js';

const OPTIONS = { create: true, asyncMaxMs: 60_000, checkpointIntervalMs: 3_600_000 };

test('closing rejects with the failure when accepted records are not durable, and lets go of the directory', async () => {
  const path = temporaryDirectory();
  const faults = new Faults();
  const store = await openFailing(path, faults, OPTIONS);
  const log = await store.openLog('t', 0, { flush: 'async' });
  await log.append([{ value: 'a' }]);
  await log.flush();
  for (let i = 0; i < 10; i++) await log.append([{ value: 'b' }]);
  faults.failJournal('fdatasync: input/output error');
  expect(log.durable).toBeLessThan(log.end);
  await expect(log.flush()).rejects.toBe(store.failed);
  await expect(store.close()).rejects.toBe(store.failed);
  await expect(store.close()).rejects.toBe(store.failed);

  const again = await openStore(path, OPTIONS);
  expect((await again.openLog('t', 0)).recovery.clean).toBe(false);
  await again.close();
});

test('closing a failed store resolves when everything accepted was durable', async () => {
  const faults = new Faults();
  const store = await openFailing(temporaryDirectory(), faults, OPTIONS);
  const log = await store.openLog('t', 0);
  await log.append([{ value: 'a' }]);
  faults.failJournal('fdatasync: input/output error');
  expect(store.failed).toMatchObject({ code: 'DISK_FAILED' });
  await store.close();
  await store.close();
});

test('a node whose store failed with a record that is not durable ends, and says why', async () => {
  const trace = new Trace();
  const cluster = await TestCluster.start(1, { store: { trace } });
  const node = cluster.node(1);
  const client = await cluster.client(await cluster.leader());
  await client.produce(batchOf('a'));
  trace.fail({ error: 'EIO', call: 1, kinds: ['write'], path: '.wal' });
  await expect(client.produce(batchOf('b'))).rejects.toMatchObject({ name: 'VarveError' });
  await until('the node noticed', () => node.status().diskFailure !== '');
  await expect(node.close()).rejects.toMatchObject({ code: 'DISK_FAILED' });
  expect(await node.stopped).toMatchObject({ code: 'DISK_FAILED', message: node.status().diskFailure });
  await cluster.stopNode(1).catch(() => {});
  await cluster.close();
});
