/**
 * A voter whose data directory was emptied was taken for the one it had been: with a node that had missed everything it made
 * a majority, elected it, and what two voters had acknowledged was gone.
 */
import { rm } from 'node:fs/promises';
import { expect, onTestFinished, test } from 'vitest';
import { decodeConfiguration } from '../../src/cluster/control-batches.js';
import { batchOf, TestCluster, until } from '../cluster/harness.js';

test('an emptied voter counts for nothing under its old name, learns under its new one, and is promoted', async () => {
  const cluster = await TestCluster.start(3);
  onTestFinished(() => cluster.close());
  const leader = await cluster.leader();
  const [behind, emptied] = [1, 2, 3].filter((id) => id !== leader) as [number, number];
  await cluster.stopNode(behind);
  const client = await cluster.client(leader);
  await client.produce(batchOf('acknowledged by two'));
  await until('the follower has it durable', () => {
    const { log } = cluster.node(emptied).replica('events', 0);
    return log.durable === cluster.node(leader).replica('events', 0).log.end;
  });
  await cluster.stopNode(emptied);
  await cluster.stopNode(leader);
  await rm(cluster.directoryOf(emptied), { recursive: true });

  const [, stranger] = await Promise.all([cluster.startNode(behind), cluster.startNode(emptied)]);
  await until('the emptied node knows that it is a stranger', () =>
    cluster.events.some(({ node, event }) => node === emptied && event === 'stranger'),
  );
  const asked = () =>
    cluster
      .node(behind)
      .status()
      .peers.every(({ nodeId, control }) => control === (nodeId === emptied));
  await until('the other one is connected to it alone', asked);
  await until('it asks for votes', () => cluster.node(behind).replica('events', 0).role === 'pre-candidate');
  // Two of three nodes are up, and hold nothing of what was acknowledged: there must be no leader, and nothing tells when.
  const { uptimeMs } = cluster.node(behind).status();
  await until('five elections could have been won', () => cluster.node(behind).status().uptimeMs > uptimeMs + 2000);
  expect(cluster.replicas().some((replica) => replica.isLeader)).toBe(false);

  await cluster.startNode(leader);
  const again = await cluster.leader();
  const reader = await cluster.client(again);
  expect(await reader.readAll()).toEqual(['acknowledged by two']);

  const replica = cluster.node(again).replica('events', 0);
  const { voters } = replica.membership.configuration;
  const newcomer = { id: emptied, directory: stranger.status().directoryId };
  const old = voters.find(({ id }) => id === emptied)!;
  expect(old.directory).not.toBe(newcomer.directory);
  const staying = voters.filter(({ id }) => id !== emptied);
  await replica.changeMembership({ voters: staying, learners: [newcomer] });
  await replica.changeMembership({ voters: [...staying, newcomer], learners: [] });
  await reader.produce(batchOf('with the new voter'));
  await cluster.settled();
  for (const { log } of cluster.replicas()) {
    const stored = log.configurations.map(({ value }) => decodeConfiguration(value, 'here'));
    expect(stored[0]!.voters).toEqual(voters);
    expect(stored.at(-1)).toEqual({ voters: [...staying, newcomer], outgoing: [], learners: [] });
  }
});
