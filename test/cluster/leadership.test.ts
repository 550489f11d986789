import { expect, onTestFinished, test } from 'vitest';
import { FrameType } from '../../src/rpc/protocol.js';
import { batchOf, TestCluster, until } from './harness.js';

test('the leadership goes to whom it is handed, from node to node, and nothing acknowledged is lost', async () => {
  const cluster = await TestCluster.start(3);
  onTestFinished(() => cluster.close());
  const sent: string[] = [];
  for (const target of [1, 2, 3, 1]) {
    const leader = await cluster.leader();
    const replica = cluster.node(leader).replica('events', 0);
    const client = await cluster.client(leader);
    sent.push(`for ${target}`);
    await client.produce(batchOf(`for ${target}`));
    if (leader === target) {
      expect(() => replica.transferLeadership(target)).toThrow(/leads already/);
      continue;
    }
    await replica.transferLeadership(target);
    await until('the target leads', () => cluster.node(target).replica('events', 0).mayRead);
  }
  expect(() => cluster.node(2).replica('events', 0).transferLeadership(1)).toThrow(/node 1 leads it|not known/);
  expect(() => cluster.node(1).replica('events', 0).transferLeadership(9)).toThrow(/node 9 is no voter/);
  const client = await cluster.client(1);
  expect(await client.readAll()).toEqual(sent);
});

test('a leader without a majority does not answer where the log ends', async () => {
  const cluster = await TestCluster.start(3);
  onTestFinished(() => cluster.close());
  const leader = await cluster.leader();
  const client = await cluster.client(leader);
  await client.produce(batchOf('a'));
  const end = (): Promise<unknown> => client.connection.request(FrameType.ListOffsets, ['events', 0, -1]);
  await expect(end()).resolves.toMatchObject({ header: [cluster.node(leader).replica('events', 0).highWatermark, -1] });
  await Promise.all([1, 2, 3].filter((id) => id !== leader).map((id) => cluster.stopNode(id)));
  await expect(end()).rejects.toMatchObject({ code: 'NOT_LEADER' });
});
