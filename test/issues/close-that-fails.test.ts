/** Whoever waits for a node to stop learns it, also when its store could not be closed cleanly. */
import { rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { batchOf, TestCluster } from '../cluster/harness.js';

test('a node whose store cannot be closed has stopped, with the reason', async () => {
  const cluster = await TestCluster.start(1);
  const client = await cluster.client(await cluster.leader());
  await client.produce(batchOf('a'));
  const node = cluster.node(1);
  await rm(cluster.directoryOf(1), { recursive: true });
  const closing = node.close();
  await expect(closing).rejects.toMatchObject({ code: 'DISK_FAILED' });
  expect(await node.stopped).toMatchObject({ code: 'DISK_FAILED' });
  await cluster.stopNode(1).catch(() => {});
  await cluster.close();
});
