/**
 * Names that a client or a peer makes up must cost it its own request or connection, nothing else: a reply that quotes
 * them can be too large for a frame, and a partition called "constructor" is found on every JavaScript array.
 */
import { afterEach, expect, test } from 'vitest';
import { staticTopicId } from '../../src/cluster/topic-id.js';
import { dial } from '../../src/rpc/dial.js';
import { FrameType, MAX_HEADER_BYTES } from '../../src/rpc/protocol.js';
import { batchOf, TestCluster, until } from '../cluster/harness.js';

let cluster: TestCluster;
afterEach(() => cluster.close());

/** Fits the header of a request, and no header that says more about it. */
const LONG_NAME = 'x'.repeat(MAX_HEADER_BYTES - 60);

test('a request for a topic with an endless name is answered, and the node goes on', async () => {
  cluster = await TestCluster.start(1);
  await cluster.leader();
  const client = await cluster.client(1);
  const answers = await Promise.allSettled([
    client.connection.request(FrameType.ListOffsets, [LONG_NAME, 0, -1]),
    client.connection.request(FrameType.Metadata, [[LONG_NAME]]),
  ]);
  for (const answer of answers) {
    expect(answer.status).toBe('rejected');
    expect((answer as PromiseRejectedResult).reason).toMatchObject({ code: 'UNKNOWN_TOPIC' });
  }
  expect(await client.produce(batchOf('a'))).toBeGreaterThan(0);
});

test('a produce request whose answer fits no frame loses its connection, not the node', async () => {
  cluster = await TestCluster.start(1);
  await cluster.leader();
  const client = await cluster.client(1);
  const bytes = batchOf('a');
  const parts = [
    ['events', 0, bytes.length],
    [LONG_NAME, 0, 0],
  ];
  const answer = client.connection.request(FrameType.Produce, [-1, 1000, parts], [bytes]);
  await expect(answer).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  const other = await cluster.client(1);
  expect(await other.readAll()).toEqual(['a']);
  expect(cluster.events.filter(({ event }) => event === 'fatal')).toEqual([]);
});

test('a Raft message for a partition that is no number ends the connection of the peer that sent it', async () => {
  cluster = await TestCluster.start(3);
  const leader = await cluster.leader();
  await cluster.stopNode(3);
  const { host, port } = cluster.peers[0]!;
  const { connection } = await dial({
    host,
    port,
    handshake: {
      kind: 'node',
      channel: 'control',
      clusterId: 'test',
      nodeId: 3,
      directoryId: 'd'.repeat(32),
      incarnation: 'i'.repeat(32),
    },
  });
  let reason: { code: string } | undefined;
  connection.onClose = (error) => {
    reason = error;
  };
  connection.onFrame = () => {};
  connection.send(FrameType.Raft, [[staticTopicId('test', 'events'), 'constructor', [8, 1], 0]]);
  await until('the connection is closed', () => reason !== undefined);
  expect(reason).toMatchObject({ code: 'PROTOCOL_ERROR' });
  const client = await cluster.client(leader === 3 ? await cluster.leader() : leader);
  expect(await client.produce(batchOf('a'))).toBeGreaterThan(0);
});
