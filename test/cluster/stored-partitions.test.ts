import { readdirSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { Node } from '../../src/cluster/node.js';
import type { TopicOptions } from '../../src/cluster/node-options.js';
import { TestCluster } from './harness.js';

let cluster: TestCluster;

afterEach(() => cluster.close());

/** A cluster of one that was stopped, and can be started with other topics. */
async function stopped(topics: TopicOptions[]): Promise<(topics: TopicOptions[]) => Promise<unknown>> {
  cluster = await TestCluster.start(1, { topics });
  await cluster.stopNode(1);
  const options = cluster.optionsOf(1);
  return async (others) => {
    const node = await Node.start({ ...options, topics: others });
    await node.close();
  };
}

test.each<[string, TopicOptions[], RegExp]>([
  ['a topic', [{ name: 'events', partitions: 3 }], /topic metrics with 1 partition is not in the list/],
  [
    'a partition',
    [{ name: 'events', partitions: 2 }, { name: 'metrics' }],
    /topic events has 3 partitions there, the list says 2/,
  ],
  ['both', [{ name: 'other' }], /topic events with 3 .*; topic metrics with 1 .*never removed: name them all/],
])('a node that was not told of %s it stores does not start, and changes nothing', async (_, topics, message) => {
  const startWith = await stopped([{ name: 'events', partitions: 3 }, { name: 'metrics' }]);
  const before = readdirSync(cluster.directoryOf(1), { recursive: true });
  await expect(startWith(topics)).rejects.toMatchObject({
    code: 'INVALID_CONFIG',
    message: expect.stringMatching(message),
  });
  expect(readdirSync(cluster.directoryOf(1), { recursive: true })).toEqual(before);
});

test('a node starts with more topics and partitions than it stores', async () => {
  const startWith = await stopped([{ name: 'events', partitions: 1 }]);
  await startWith([{ name: 'events', partitions: 2 }, { name: 'metrics' }]);
});
