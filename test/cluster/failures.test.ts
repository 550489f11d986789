/** What a node does when its store fails under it. The failures are put in place of single calls of its logs. */
import { describe, expect, test } from 'vitest';
import { VarveError } from '../../src/errors.js';
import type { Log } from '../../src/log/log.js';
import { FrameType } from '../../src/rpc/protocol.js';
import { batchOf, startCluster, until } from './harness.js';

type Failing = 'appendReplicated' | 'appendProduced' | 'appendControl' | 'advanceHighWatermark';

/** Makes a call of a log throw until the returned function is called. */
function fail(log: Log, name: Failing, error: Error): () => void {
  Object.defineProperty(log, name, {
    configurable: true,
    value: () => {
      throw error;
    },
  });
  return () => {
    Reflect.deleteProperty(log, name);
  };
}

const full = new VarveError('DISK_FULL', 'no space left');

describe('a node whose disk', () => {
  test('failed leaves replication, still serves reads of what is committed, and the others go on', async () => {
    const cluster = await startCluster(3);
    const leader = await cluster.leader();
    const client = await cluster.client(leader);
    await client.produce(batchOf('before'));
    await cluster.settled();
    const sick = [1, 2, 3].find((id) => id !== leader)!;
    fail(cluster.node(sick).replica('events', 0).log, 'appendReplicated', new VarveError('DISK_FAILED', 'EIO'));
    await client.produce(batchOf('after'));
    await until('the node noticed', () => cluster.node(sick).status().diskFailure !== '');

    const status = cluster.node(sick).status();
    expect(status).toMatchObject({ diskFailure: 'EIO', partitions: [{ stopped: 'EIO', role: 'follower', leader: 0 }] });
    const elsewhere = await cluster.client(sick);
    expect((await elsewhere.fetch(0)).values).toEqual(['before']);
    await expect(elsewhere.produce(batchOf('x'))).rejects.toMatchObject({ code: 'DISK_FAILED' });
    await until('its connections are gone', () =>
      cluster
        .node(leader)
        .status()
        .peers.some((peer) => peer.nodeId === sick && !peer.control && !peer.data),
    );
    await client.produce(batchOf('two are a majority'));
    expect(await client.readAll()).toEqual(['before', 'after', 'two are a majority']);
  });

  test('fails in the middle of an append says that the outcome is unknown: the bytes may be there after a restart', async () => {
    const cluster = await startCluster(1);
    const { log } = cluster.node(await cluster.leader()).replica('events', 0);
    const client = await cluster.client(1);
    const append = log.appendProduced.bind(log);
    Object.defineProperty(log, 'appendProduced', {
      value: (...given: Parameters<Log['appendProduced']>) => {
        append(...given);
        throw new VarveError('DISK_FAILED', 'the journal failed behind the segment');
      },
    });
    await expect(client.produce(batchOf('stored'))).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  });

  test('fails at a deletion does not say that it was done', async () => {
    const cluster = await startCluster(1);
    const leader = await cluster.leader();
    const client = await cluster.client(leader);
    await client.produce(batchOf('a'));
    const { log } = cluster.node(leader).replica('events', 0);
    Object.defineProperty(log, 'deleteBefore', {
      value: () => Promise.reject(new VarveError('DISK_FULL', 'no space')),
    });
    await expect(
      client.connection.request(FrameType.DeleteRecords, ['events', 0, log.highWatermark]),
    ).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  });

  test('is full refuses producers while it leads, and takes them again when there is space', async () => {
    const cluster = await startCluster(3);
    const leader = await cluster.leader();
    const client = await cluster.client(leader);
    const mend = fail(cluster.node(leader).replica('events', 0).log, 'appendProduced', full);
    await expect(client.produce(batchOf('refused'))).rejects.toMatchObject({ code: 'DISK_FULL' });
    mend();
    await client.produce(batchOf('taken'));
    expect(await client.readAll()).toEqual(['taken']);
  });

  test('is full takes appends for lost while it follows, and catches up when there is space', async () => {
    const cluster = await startCluster(3);
    const leader = await cluster.leader();
    const client = await cluster.client(leader);
    const follower = [1, 2, 3].find((id) => id !== leader)!;
    const { log } = cluster.node(follower).replica('events', 0);
    await cluster.settled();
    const { end } = log;
    const mend = fail(log, 'appendReplicated', full);
    for (let i = 0; i < 10; i++) await client.produce(batchOf(`${i}`));
    await until('the follower was offered some', () => cluster.events.some(({ event }) => event === 'append-refused'));
    expect(log.end).toBe(end);
    mend();
    await cluster.settled();
    expect(log.end).toBe(end + 10);
  });

  test('is full when it is elected tries again later', async () => {
    const cluster = await startCluster(1);
    await cluster.leader();
    await cluster.stopNode(1);
    const node = await cluster.startNode(1);
    // Its election is under way: the vote for itself is not durable yet.
    const mend = fail(node.replica('events', 0).log, 'appendControl', full);
    await until('it could not store its first batch', () => cluster.events.some(({ event }) => event === 'disk-full'));
    expect(node.replica('events', 0).mayRead).toBe(false);
    mend();
    const client = await cluster.client(await cluster.leader());
    await client.produce(batchOf('works'));
  });
});

test('a node that finds a contradiction stops by itself, and says why', async () => {
  const cluster = await startCluster(1);
  const client = await cluster.client(await cluster.leader());
  const node = cluster.node(1);
  fail(
    node.replica('events', 0).log,
    'advanceHighWatermark',
    new VarveError('INVARIANT_BROKEN', 'two and two is five'),
  );
  await expect(client.produce(batchOf('x'))).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  expect(await node.stopped).toMatchObject({ code: 'INVARIANT_BROKEN', message: 'two and two is five' });
  await expect(cluster.client(1)).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
});
