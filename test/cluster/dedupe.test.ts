/** Idempotent producers over the wire: duplicates, refusals, and a new leader that knows what the old one stored. */
import { describe, expect, test } from 'vitest';
import { FrameType } from '../../src/rpc/protocol.js';
import { type Produced, producedBatch } from '../log/producer-model.js';
import { startCluster, until } from './harness.js';

const batch = (sequence: number, more: Partial<Produced> = {}): Buffer =>
  producedBatch({ producerId: 1, epoch: 0, sequence, count: 2, ...more });

describe('a batch that is sent again', () => {
  test('gets the offsets of the first time, from the same leader and from the next one', async () => {
    const cluster = await startCluster(3);
    const leader = await cluster.leader();
    const client = await cluster.client(leader);
    const first = await client.produce(batch(0));
    const second = await client.produce(batch(2));
    expect(await client.produce(batch(0))).toBe(first);
    expect(await client.produce(batch(2), { acks: 1 })).toBe(second);
    await cluster.stopNode(leader);
    const next = await cluster.client(await cluster.leader());
    expect(await next.produce(batch(2))).toBe(second);
    expect(await next.produce(batch(4))).toBeGreaterThan(second);
    expect(await next.readAll()).toHaveLength(6);
  });

  test.each([1, -1] as const)('is not answered before its original is (acks %i)', async (acks) => {
    const cluster = await startCluster(1);
    const client = await cluster.client(await cluster.leader());
    const { log } = cluster.node(1).replica('events', 0);
    const header = [acks, 30_000, [['events', 0, batch(0).length]]];
    // Both arrive before the disk has the first: were the duplicate's answer not held back, it would come first.
    const answers: string[] = [];
    const send = (name: string) =>
      client.connection.request(FrameType.Produce, header, [batch(0)]).then((reply) => {
        answers.push(name);
        expect(log.durable).toBeGreaterThan((reply.header as [[[string, string, number]]])[0][0][2]);
      });
    await Promise.all([send('original'), send('duplicate')]);
    expect(answers).toEqual(['original', 'duplicate']);
  });
});

test('what a leader refuses reaches the producer with its code', async () => {
  const cluster = await startCluster(1);
  const client = await cluster.client(await cluster.leader());
  await client.produce(batch(0, { epoch: 1 }));
  await expect(client.produce(batch(5, { epoch: 1 }))).rejects.toMatchObject({ code: 'OUT_OF_ORDER_SEQUENCE' });
  await expect(client.produce(batch(2, { epoch: 0 }))).rejects.toMatchObject({ code: 'PRODUCER_FENCED' });
  await expect(client.produce(batch(-1, { epoch: 1 }))).rejects.toMatchObject({ code: 'INVALID_BATCH' });
  const { log } = cluster.node(1).replica('events', 0);
  await until('all is committed', () => log.highWatermark === log.end);
  expect(await client.readAll()).toHaveLength(2);
});
