/**
 * Under flush async a replica vouches from memory for as much as the bound allows. On a leader producers wait for a disk
 * that is slower than that; a follower has nobody to hold back but the leader, by acknowledging what is on its disk.
 */
import { afterEach, expect, test } from 'vitest';
import type { Log } from '../../src/log/log.js';
import { batchOf, TestCluster } from '../cluster/harness.js';

let cluster: TestCluster;
afterEach(() => cluster.close());

/** A log whose disk lags behind by more than the bound: nothing new becomes durable. */
function lag(log: Log): () => void {
  const { durable } = log;
  Object.defineProperty(log, 'throttled', { configurable: true, get: () => true });
  Object.defineProperty(log, 'durable', { configurable: true, get: () => durable });
  return () => {
    Reflect.deleteProperty(log, 'throttled');
    Reflect.deleteProperty(log, 'durable');
  };
}

test('a record that only lies beyond the bound on every follower is not acknowledged under acks all', async () => {
  cluster = await TestCluster.start(3, { topics: [{ name: 'events', flush: 'async' }] });
  const leader = await cluster.leader();
  const client = await cluster.client(leader);
  await client.produce(batchOf('a'));
  await cluster.settled();
  const followers = cluster.nodes.filter(({ options }) => options.nodeId !== leader);
  const mend = followers.map((node) => lag(node.replica('events', 0).log));

  await expect(client.produce(batchOf('b'), { timeoutMs: 300 })).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  expect(
    followers.every((node) => node.replica('events', 0).log.end === cluster.node(leader).replica('events', 0).log.end),
  ).toBe(true);
  expect(await client.readAll()).toEqual(['a']);

  for (const undo of mend) undo();
  await client.produce(batchOf('c'));
  expect(await client.readAll()).toEqual(['a', 'b', 'c']);
});
