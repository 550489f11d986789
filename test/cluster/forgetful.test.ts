import { expect, onTestFinished, test } from 'vitest';
import type { Log } from '../../src/log/log.js';
import { batchOf, TestCluster, until } from './harness.js';

/** As recovery leaves it after a power cut under relaxed flush. */
async function forgets(cluster: TestCluster, id: number): Promise<void> {
  const { log } = cluster.node(id).replica('events', 0) as { log: Log };
  const { term, vote } = log.hardState;
  await new Promise<void>((resolve) => log.saveHardState({ term, vote, forgot: term }, resolve));
  await cluster.stopNode(id);
}

test('a follower that forgot abstains until it has the log of the leader again', async () => {
  const cluster = await TestCluster.start(3, { topics: [{ name: 'events', flush: 'async' }] });
  onTestFinished(() => cluster.close());
  const leader = await cluster.leader();
  const client = await cluster.client(leader);
  await client.produce(batchOf('a'));
  await cluster.settled();
  const [first] = [1, 2, 3].filter((id) => id !== leader) as [number];
  await forgets(cluster, first);
  await client.produce(batchOf('b'));
  await cluster.startNode(first);
  const replica = cluster.node(first).replica('events', 0);
  await until('it has told that it is whole again', () =>
    cluster.events.some(({ node, event }) => node === first && event === 'whole-again'),
  );
  expect(replica.log.hardState).not.toHaveProperty('forgot');
  expect(replica.log.durable).toBeGreaterThanOrEqual(cluster.node(leader).replica('events', 0).highWatermark);
});

test('a partition of which a majority forgot is offline until longest-log is allowed, which says what it may lose', async () => {
  const topics = [{ name: 'events', flush: 'async' as const }];
  const cluster = await TestCluster.start(3, { topics });
  onTestFinished(() => cluster.close());
  const client = await cluster.client(await cluster.leader());
  await client.produce(batchOf('a', 'b'));
  await cluster.settled();
  for (const id of [1, 2, 3]) await forgets(cluster, id);

  for (const id of [1, 2, 3]) await cluster.startNode(id);
  const { uptimeMs } = cluster.node(3).status();
  // Nothing tells when no leader is elected.
  await until('five elections could have been won', () => cluster.node(3).status().uptimeMs > uptimeMs + 2000);
  expect(cluster.replicas().map(({ leader }) => leader)).toEqual([0, 0, 0]);
  expect(cluster.node(1).status().partitions[0]).toMatchObject({ forgetful: true });

  for (const id of [1, 2, 3]) await cluster.stopNode(id);
  for (const id of [1, 2, 3]) await cluster.startNode(id, { uncleanRecovery: 'longest-log' });
  const leader = await cluster.leader();
  const said = cluster.events.filter(({ event }) => event === 'unclean-recovery');
  expect(said).toMatchObject([{ node: leader, details: { message: expect.stringMatching(/not in it are lost/) } }]);
  const reader = await cluster.client(leader);
  expect(await reader.readAll()).toEqual(['a', 'b']);
  await reader.produce(batchOf('c'));
  await until('nobody abstains any more', () => cluster.nodes.every((node) => !node.status().partitions[0]!.forgetful));
});
