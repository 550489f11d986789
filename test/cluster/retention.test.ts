import { expect, onTestFinished, test } from 'vitest';
import { batchOf, TestCluster, until } from './harness.js';

test('the leader moves the log start of every replica to what the limits of the topic keep', async () => {
  const topics = [{ name: 'events', partitions: 1, segmentBytes: 2 ** 20, retentionBytes: 2 ** 20 }];
  const cluster = await TestCluster.start(2, { topics });
  onTestFinished(() => cluster.close());
  const client = await cluster.client(await cluster.leader());
  for (let i = 0; i < 30; i++) await client.produce(batchOf(`${i}`.padEnd(200_000, '.')));
  // A leader looks when it begins to lead, and then now and then.
  for (const { id } of cluster.peers) {
    await cluster.stopNode(id);
    await cluster.startNode(id);
  }
  await cluster.leader();
  await until('both replicas deleted the same', () => {
    const [first, second] = cluster.replicas().map(({ log }) => log.start);
    return first! > 15 && first === second;
  });
  const reader = await cluster.client(await cluster.leader());
  const values = (await reader.readAll()).map((value) => Number.parseInt(value, 10));
  expect(values.at(-1)).toBe(29);
  expect(values.length).toBeGreaterThanOrEqual(5);
  expect(values).toEqual(values.map((_, i) => 30 - values.length + i));
});
