import { expect, onTestFinished, test } from 'vitest';
import { FrameType } from '../../src/rpc/protocol.js';
import { batchOf, TestCluster, until } from './harness.js';

const MIB = 1024 * 1024;

test('a follower that lacks what retention has deleted is reset, catches up, and can lead', async () => {
  const cluster = await TestCluster.start(3, { topics: [{ name: 'events', segmentBytes: MIB }] });
  onTestFinished(() => cluster.close());
  const leader = await cluster.leader();
  const client = await cluster.client(leader);
  await client.produce(batchOf('before'));
  await cluster.settled();
  const away = [1, 2, 3].find((id) => id !== leader)!;
  await cluster.stopNode(away);
  const value = 'x'.repeat(300_000);
  const bases: number[] = [];
  for (let i = 0; i < 12; i++) bases.push(await client.produce(batchOf(`${i}`, value, value)));
  // Inside the batch.
  const logStart = bases[8]! + 1;
  await client.connection.request(FrameType.DeleteRecords, ['events', 0, logStart]);
  await until(
    'the first segments are gone',
    () => cluster.node(leader).replica('events', 0).log.physicalStart > bases[2]!,
  );

  await cluster.startNode(away);
  await cluster.settled();
  const replica = cluster.node(away).replica('events', 0);
  expect(cluster.events.filter(({ node, event }) => node === away && event === 'reset')).toHaveLength(1);
  expect(replica.log.start).toBe(logStart);
  expect(replica.log.configurations.map(({ value: each }) => each)).toEqual(
    cluster
      .node(leader)
      .replica('events', 0)
      .log.configurations.map(({ value: each }) => each),
  );

  // It serves what the leader did.
  const expected = await client.readAll();
  expect(expected.at(-3)).toBe('11');
  await cluster.node(leader).replica('events', 0).transferLeadership(away);
  await until('it leads', () => replica.mayRead);
  const reader = await cluster.client(away);
  expect(await reader.readAll()).toEqual(expected);
  await reader.produce(batchOf('after'));
  await cluster.settled();
  await cluster.stopNode(away);
  await cluster.startNode(away);
  await cluster.settled();
  expect(cluster.node(away).replica('events', 0).log.start).toBe(logStart);
});
