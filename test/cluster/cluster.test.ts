import { describe, expect, test } from 'vitest';
import type { Replica } from '../../src/cluster/replica.js';
import type { NodeStatus } from '../../src/cluster/status.js';
import { FrameType, type MetadataReplyHeader } from '../../src/rpc/protocol.js';
import { batchOf, startCluster, type TestCluster, until } from './harness.js';

/** Every byte of a replica's log. */
function bytesOf({ log }: Replica): Buffer {
  const parts: Buffer[] = [];
  for (let offset = log.start; offset < log.end; ) {
    const { views, nextOffset } = log.viewsFrom(offset, 2 ** 20, 'end');
    parts.push(...views);
    offset = nextOffset;
  }
  return Buffer.concat(parts);
}

function expectEqualReplicas(cluster: TestCluster, topic = 'events', partition = 0): void {
  const [first, ...others] = cluster.replicas(topic, partition).map(bytesOf);
  for (const other of others) expect(other.equals(first!)).toBe(true);
}

const otherThan = (id: number): number[] => [1, 2, 3].filter((other) => other !== id);

describe('a cluster of three', () => {
  test('elects one leader per partition, and everybody learns who it is', async () => {
    const cluster = await startCluster(3, { topics: [{ name: 'events', partitions: 4 }] });
    for (let partition = 0; partition < 4; partition++) {
      const leader = await cluster.leader('events', partition);
      await until('all nodes know the leader', () =>
        cluster.replicas('events', partition).every((replica) => replica.leader === leader),
      );
      expect(cluster.replicas('events', partition).filter((replica) => replica.isLeader)).toHaveLength(1);
    }
  });

  test.each(['sync', 'async', 'none'] as const)(
    'stores what acks 0, 1 and all were sent under flush %s, on all replicas',
    async (flush) => {
      const cluster = await startCluster(3, { topics: [{ name: 'events', flush }] });
      const client = await cluster.client(await cluster.leader());
      const base = await client.produce(batchOf('all-1', 'all-2'));
      expect(await client.produce(batchOf('one'), { acks: 1 })).toBe(base + 2);
      client.send(batchOf('zero'));
      await client.produce(batchOf('last'));
      expect(await client.readAll()).toEqual(['all-1', 'all-2', 'one', 'zero', 'last']);
      await cluster.settled();
      expectEqualReplicas(cluster);
    },
  );

  test('keeps the order of many batches in flight at once, and answers each with its own offset', async () => {
    const cluster = await startCluster(3);
    const client = await cluster.client(await cluster.leader());
    const offsets = await Promise.all(
      Array.from({ length: 500 }, (_, i) => client.produce(batchOf(`${i}a`, `${i}b`), { acks: i % 2 === 0 ? -1 : 1 })),
    );
    for (let i = 1; i < offsets.length; i++) expect(offsets[i]).toBe(offsets[i - 1]! + 2);
    const values = Array.from({ length: 500 }, (_, i) => [`${i}a`, `${i}b`]).flat();
    await until('all of it is committed', async () => (await client.readAll()).length === values.length);
    expect(await client.readAll()).toEqual(values);
    await cluster.settled();
    expectEqualReplicas(cluster);
  });

  test('elects a new leader by itself when the leader stops, loses nothing acknowledged, and the old one catches up', async () => {
    const cluster = await startCluster(3);
    const first = await cluster.leader();
    const client = await cluster.client(first);
    const values = Array.from({ length: 200 }, (_, i) => `value-${i}`);
    await Promise.all(values.map((value) => client.produce(batchOf(value))));
    await cluster.stopNode(first);

    const second = await cluster.leader();
    expect(second).not.toBe(first);
    const next = await cluster.client(second);
    expect(await next.readAll()).toEqual(values);
    await next.produce(batchOf('after'));
    await cluster.startNode(first);
    await cluster.settled();
    expectEqualReplicas(cluster);
    expect(await next.readAll()).toEqual([...values, 'after']);
  });

  test('cuts off what a deposed leader alone had stored', async () => {
    const cluster = await startCluster(3);
    const old = await cluster.leader();
    const client = await cluster.client(old);
    await client.produce(batchOf('kept'));
    await cluster.settled();
    const [b, c] = otherThan(old);
    await cluster.stopNode(b!);
    // The connections end at once; the leader keeps its role until check-quorum finds out.
    const stopping = cluster.stopNode(c!);
    await client.produce(batchOf('only here 1', 'only here 2'), { acks: 1 });
    await stopping;
    const lone = cluster.node(old).replica('events', 0);
    expect(lone.log.end).toBeGreaterThan(lone.highWatermark);
    await cluster.stopNode(old);

    await Promise.all([cluster.startNode(b!), cluster.startNode(c!)]);
    const next = await cluster.client(await cluster.leader());
    await next.produce(batchOf('new history'));
    await cluster.startNode(old);
    await cluster.settled();
    expect(cluster.node(old).replica('events', 0).log.generation).toBeGreaterThan(0);
    expectEqualReplicas(cluster);
    expect(await next.readAll()).toEqual(['kept', 'new history']);
  });

  test('tells a producer that the outcome is unknown when the leader loses its majority', async () => {
    const cluster = await startCluster(3);
    const leader = await cluster.leader();
    const client = await cluster.client(leader);
    const stopping = Promise.all(otherThan(leader).map((id) => cluster.stopNode(id)));
    await expect(client.produce(batchOf('lost?'))).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    await stopping;
    await expect(client.produce(batchOf('refused'))).rejects.toMatchObject({ code: 'NOT_LEADER' });
    await expect(client.fetch(0)).rejects.toMatchObject({ code: 'NOT_LEADER' });
  });

  test('answers a producer that waits no longer', async () => {
    const cluster = await startCluster(3, { electionMs: 2000 });
    const leader = await cluster.leader();
    const client = await cluster.client(leader);
    const stopping = Promise.all(otherThan(leader).map((id) => cluster.stopNode(id)));
    await expect(client.produce(batchOf('late'), { timeoutMs: 50 })).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    await stopping;
  });

  test('keeps everything over a restart of all nodes', async () => {
    const cluster = await startCluster(3, { topics: [{ name: 'events' }, { name: 'loose', flush: 'none' }] });
    for (const topic of ['events', 'loose']) {
      const client = await cluster.client(await cluster.leader(topic));
      for (let i = 0; i < 20; i++) await client.produce(batchOf(`${topic} ${i}`), { topic });
    }
    for (const id of [1, 2, 3]) await cluster.stopNode(id);
    await Promise.all([1, 2, 3].map((id) => cluster.startNode(id)));
    for (const topic of ['events', 'loose']) {
      const client = await cluster.client(await cluster.leader(topic));
      expect(await client.readAll(topic)).toEqual(Array.from({ length: 20 }, (_, i) => `${topic} ${i}`));
    }
    for (const replica of cluster.replicas()) expect(replica.log.recovery).toMatchObject({ clean: true });
  });

  test('deletes records on all replicas, and refuses to delete what is not final', async () => {
    const cluster = await startCluster(3);
    const leader = await cluster.leader();
    const client = await cluster.client(leader);
    const base = await client.produce(batchOf('a', 'b'));
    await client.produce(batchOf('c', 'd'));
    const request = (offset: number) => client.connection.request(FrameType.DeleteRecords, ['events', 0, offset]);
    expect((await request(base + 2)).header).toEqual([base + 2]);
    await until('every replica starts there', () =>
      cluster.replicas().every((replica) => replica.log.start === base + 2),
    );
    expect(await client.readAll()).toEqual(['c', 'd']);
    await expect(client.fetch(base)).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' });
    await expect(request(10_000)).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' });
    await expect(request(-1)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    const [follower] = otherThan(leader);
    const elsewhere = await cluster.client(follower!);
    await expect(elsewhere.connection.request(FrameType.DeleteRecords, ['events', 0, base + 3])).rejects.toMatchObject({
      code: 'NOT_LEADER',
    });

    await cluster.settled();
    for (const id of [1, 2, 3]) await cluster.stopNode(id);
    await Promise.all([1, 2, 3].map((id) => cluster.startNode(id)));
    for (const replica of cluster.replicas()) expect(replica.log.start).toBe(base + 2);
  });

  test('a follower names the leader, and closes on acks 0', async () => {
    const cluster = await startCluster(3);
    const leader = await cluster.leader();
    const [follower] = otherThan(leader);
    await until('the follower knows the leader', () => cluster.node(follower!).replica('events', 0).leader === leader);
    const client = await cluster.client(follower!);
    const refusal = { code: 'NOT_LEADER', message: expect.stringContaining(`node ${leader} leads`) };
    await expect(client.produce(batchOf('x'))).rejects.toMatchObject(refusal);
    await expect(client.produce(batchOf('x'), { acks: 1 })).rejects.toMatchObject(refusal);
    await expect(client.fetch(0)).rejects.toMatchObject(refusal);
    await expect(client.connection.request(FrameType.ListOffsets, ['events', 0, -1])).rejects.toMatchObject(refusal);
    const closed = new Promise((resolve) => {
      client.connection.onClose = resolve;
    });
    client.send(batchOf('x'));
    expect(await closed).toMatchObject({ code: 'NOT_LEADER' });
    expect(bytesOf(cluster.node(leader).replica('events', 0)).includes('x')).toBe(false);
  });

  test('reports what it knows: metadata and status', async () => {
    const cluster = await startCluster(3, { topics: [{ name: 'events', partitions: 2 }] });
    const leaders = [await cluster.leader('events', 0), await cluster.leader('events', 1)];
    const client = await cluster.client(leaders[0]!);
    await until('the node knows both leaders', () =>
      [0, 1].every((partition) => cluster.node(leaders[0]!).replica('events', partition).leader === leaders[partition]),
    );
    const [clusterId, nodes, topics] = (await client.connection.request(FrameType.Metadata, [null]))
      .header as MetadataReplyHeader;
    expect(clusterId).toBe('test');
    expect(nodes).toEqual(cluster.peers.map(({ id, host, port }) => [id, host, port]));
    expect(topics).toMatchObject([['events', expect.stringMatching(/^[0-9a-f]{32}$/), 'sync', expect.anything()]]);
    expect(topics[0]![3].map(([leader, , replicas]) => [leader, replicas])).toEqual(
      leaders.map((leader) => [leader, [1, 2, 3]]),
    );
    await expect(client.connection.request(FrameType.Metadata, [['nope']])).rejects.toMatchObject({
      code: 'UNKNOWN_TOPIC',
    });

    const [status] = (await client.connection.request(FrameType.Status, [])).header as [NodeStatus];
    expect(status).toMatchObject({ nodeId: leaders[0], clusterId: 'test', diskFailure: '' });
    expect(status.partitions[0]).toMatchObject({
      topic: 'events',
      partition: 0,
      role: 'leader',
      flush: 'sync',
      stopped: '',
    });
    expect(status.partitions[0]!.followers).toHaveLength(2);
    expect(status.journal.syncs).toBeGreaterThan(0);
    expect(status.peers).toHaveLength(2);
  });
});

describe('a cluster of one', () => {
  test.each(['sync', 'async', 'none'] as const)('is its own majority under flush %s', async (flush) => {
    const cluster = await startCluster(1, { topics: [{ name: 'events', flush }] });
    const client = await cluster.client(await cluster.leader());
    await client.produce(batchOf('a'));
    await client.produce(batchOf('b'), { acks: 1 });
    client.send(batchOf('c'));
    await client.produce(batchOf('d'));
    expect(await client.readAll()).toEqual(['a', 'b', 'c', 'd']);
    await cluster.stopNode(1);
    await cluster.startNode(1);
    const again = await cluster.client(await cluster.leader());
    expect(await again.readAll()).toEqual(['a', 'b', 'c', 'd']);
  });

  test('a long poll is answered by the record it waits for, and at its deadline by what there is', async () => {
    const cluster = await startCluster(1);
    const client = await cluster.client(await cluster.leader());
    const base = await client.produce(batchOf('first'));
    const waiting = client.fetch(base + 1, { minBytes: 1, maxWaitMs: 60_000 });
    const many = client.fetch(base + 1, { minBytes: 1_000_000, maxWaitMs: 60_000, maxBytes: 2_000_000 });
    await client.produce(batchOf('second'));
    expect((await waiting).values).toEqual(['second']);
    await client.produce(batchOf('x'.repeat(1_000_000)));
    expect((await many).values).toHaveLength(2);
    const { nextOffset } = await many;
    expect(await client.fetch(nextOffset, { minBytes: 1, maxWaitMs: 20 })).toMatchObject({ values: [], nextOffset });
  });

  test('unknown topics and partitions are named', async () => {
    const cluster = await startCluster(1);
    const client = await cluster.client(await cluster.leader());
    await expect(client.produce(batchOf('x'), { topic: '../etc' })).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC' });
    await expect(client.produce(batchOf('x'), { partition: 1 })).rejects.toMatchObject({ code: 'UNKNOWN_PARTITION' });
    await expect(client.fetch(0, { topic: 'nope' })).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC' });
    await expect(client.fetch(0, { partition: 9 })).rejects.toMatchObject({ code: 'UNKNOWN_PARTITION' });
    await expect(client.fetch(99)).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' });
  });

  test('a bad batch is refused as a whole request part, and nothing of it is appended', async () => {
    const cluster = await startCluster(1, { topics: [{ name: 'events', maxBatchBytes: 65_536 }] });
    const client = await cluster.client(await cluster.leader());
    const { end } = cluster.node(1).replica('events', 0).log;
    const corrupt = batchOf('good', 'bad');
    corrupt[corrupt.length - 1]! ^= 1;
    await expect(client.produce(corrupt)).rejects.toMatchObject({ code: 'CORRUPT_BATCH' });
    await expect(client.produce(Buffer.concat([batchOf('good'), corrupt]))).rejects.toMatchObject({
      code: 'CORRUPT_BATCH',
    });
    await expect(client.produce(Buffer.alloc(500))).rejects.toMatchObject({ code: 'CORRUPT_BATCH' });
    await expect(client.produce(Buffer.alloc(0))).rejects.toBeDefined();
    await expect(client.produce(batchOf('x'.repeat(70_000)))).rejects.toMatchObject({ code: 'BATCH_TOO_LARGE' });
    expect(cluster.node(1).replica('events', 0).log.end).toBe(end);
    await client.produce(batchOf('still fine'));
    expect(await client.readAll()).toEqual(['still fine']);
  });

  test.each<[string, unknown[], Buffer]>([
    ['of the wrong shape', ['x'], Buffer.alloc(0)],
    ['with an unknown acks', [7, 0, [['events', 0, 0]]], Buffer.alloc(0)],
    ['whose lengths do not add up', [-1, 0, [['events', 0, 7]]], Buffer.alloc(3)],
  ])('a request %s closes the connection', async (_, header, body) => {
    const cluster = await startCluster(1);
    const client = await cluster.client(await cluster.leader());
    const closed = new Promise((resolve) => {
      client.connection.onClose = resolve;
    });
    await expect(client.connection.request(FrameType.Produce, header, [body])).rejects.toMatchObject({
      code: 'OUTCOME_UNKNOWN',
    });
    expect(await closed).toMatchObject({ code: 'PROTOCOL_ERROR' });
    const other = await cluster.client(1);
    await other.produce(batchOf('others go on'));
  });

  test('a frame nobody knows closes the connection', async () => {
    const cluster = await startCluster(1);
    const client = await cluster.client(1);
    const closed = new Promise((resolve) => {
      client.connection.onClose = resolve;
    });
    client.connection.send(99, []);
    expect(await closed).toMatchObject({ code: 'PROTOCOL_ERROR' });
  });

  test('a producer with more bytes in flight than allowed is read more slowly, not refused', async () => {
    const cluster = await startCluster(1, { clientMaxInflightBytes: 4 * 2 ** 20, store: { pendingMaxBytes: 2 ** 20 } });
    const client = await cluster.client(await cluster.leader());
    const values = Array.from({ length: 300 }, (_, i) => `${i}`.padEnd(100_000, 'x'));
    await Promise.all(values.map((value) => client.produce(batchOf(value))));
    expect(await client.readAll()).toEqual(values);
  });
});
