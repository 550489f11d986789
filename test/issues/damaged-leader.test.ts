/**
 * A leader that finds a damaged range in what a follower needs cannot go on leading that partition. Its node goes on
 * with all others, and another replica leads.
 */
import { afterEach, expect, test } from 'vitest';
import { VarveError } from '../../src/errors.js';
import { batchOf, TestCluster, until } from '../cluster/harness.js';

let cluster: TestCluster;
afterEach(() => cluster.close());

test('a leader with a damaged log leaves this partition to another one, and its node goes on', async () => {
  cluster = await TestCluster.start(3, { topics: [{ name: 'events', partitions: 2 }] });
  const leader = await cluster.leader('events', 0);
  const node = cluster.node(leader);
  const client = await cluster.client(leader);
  await client.produce(batchOf('a'));
  await cluster.settled('events', 0);
  Object.defineProperty(node.replica('events', 0).log, 'span', {
    value: () => {
      throw new VarveError('CORRUPT_LOG', 'a range is damaged');
    },
  });
  await expect(client.produce(batchOf('b'))).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });

  let next = leader;
  await until('another node leads', () => {
    next = cluster.nodes.find((each) => each.replica('events', 0).mayRead)?.options.nodeId ?? leader;
    return next !== leader;
  });
  const elsewhere = await cluster.client(next);
  await elsewhere.produce(batchOf('c'));
  expect(await elsewhere.readAll()).toEqual(['a', 'c']);
  expect(node.status().partitions.map(({ stopped }) => stopped)).toEqual(['a range is damaged', '']);
  expect(cluster.events.filter(({ event }) => event === 'fatal')).toEqual([]);
});
