/** The client against real nodes: three of them in this process, over TCP, on disk. */
import { afterEach, describe, expect, it } from 'vitest';
import { Admin } from '../../src/client/admin.js';
import { Consumer } from '../../src/client/consumer.js';
import type { ConsumerOptions, ProducerOptions } from '../../src/client/options.js';
import { Producer } from '../../src/client/producer.js';
import type { NodeOptions } from '../../src/cluster/node-options.js';
import type { VarveError } from '../../src/errors.js';
import { COMPRESSIONS, type Record } from '../../src/record/types.js';
import { TestCluster } from '../cluster/harness.js';

const open: { close(): Promise<void> }[] = [];

afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

async function start(overrides: Partial<NodeOptions> = {}): Promise<TestCluster> {
  const cluster = await TestCluster.start(3, overrides);
  open.push(cluster);
  return cluster;
}

function brokersOf(cluster: TestCluster): string[] {
  return cluster.peers.map(({ host, port }) => `${host}:${port}`);
}

function producerOf(cluster: TestCluster, options: Partial<ProducerOptions> = {}): Producer {
  const producer = new Producer({ brokers: brokersOf(cluster), clusterId: 'test', ...options });
  open.push(producer);
  return producer;
}

function consumerOf(cluster: TestCluster, options: Partial<ConsumerOptions> = {}): Consumer {
  const consumer = new Consumer({
    brokers: brokersOf(cluster),
    clusterId: 'test',
    topic: 'events',
    partition: 0,
    ...options,
  });
  open.push(consumer);
  return consumer;
}

function adminOf(cluster: TestCluster): Admin {
  const admin = new Admin({ brokers: brokersOf(cluster), clusterId: 'test' });
  open.push(admin);
  return admin;
}

async function readUntil(consumer: Consumer, enough: (records: readonly Record[]) => boolean): Promise<Record[]> {
  const records: Record[] = [];
  while (!enough(records)) records.push(...(await consumer.poll()));
  return records;
}

describe('produce and consume', () => {
  it.each(COMPRESSIONS)('what is acknowledged is read back as it was sent, compression %s', async (compression) => {
    const cluster = await start({ topics: [{ name: 'events', partitions: 2 }] });
    const producer = producerOf(cluster, { compression, batchBytes: 4096 });
    const sent = Array.from({ length: 500 }, (_, n) => ({
      topic: 'events',
      partition: n % 2,
      key: n % 3 === 0 ? null : `key ${n}`,
      value: `${n}:${'é'.repeat(n % 97)}`,
      timestamp: 1_700_000_000_000 + n,
      headers: n % 5 === 0 ? [{ key: 'n', value: Buffer.from(String(n)) }] : [],
    }));
    const results = await Promise.all(sent.map((record) => producer.send(record)));
    for (const partition of [0, 1]) {
      const expected = sent.flatMap((record, n) => {
        if (record.partition !== partition) return [];
        const key = record.key === null ? null : Buffer.from(record.key);
        const { offset } = results[n]!;
        return [
          { offset, timestamp: record.timestamp, key, value: Buffer.from(record.value), headers: record.headers },
        ];
      });
      const records = await readUntil(consumerOf(cluster, { partition }), ({ length }) => length >= expected.length);
      expect(records).toEqual(expected);
    }
  });

  it.each([0, 1, 'all'] as const)('acks %s: records reach the consumer in order', async (acks) => {
    const cluster = await start();
    const producer = producerOf(cluster, { acks });
    await adminOf(cluster).waitForLeader('events', 0);
    for (let n = 0; n < 100; n++) {
      const { offset } = await producer.send({ topic: 'events', value: String(n) });
      expect(offset < 0).toBe(acks === 0);
    }
    const records = await readUntil(consumerOf(cluster), ({ length }) => length >= 100);
    expect(records.map(({ value }) => String(value))).toEqual(Array.from({ length: 100 }, (_, n) => String(n)));
  });

  it('a consumer that waits is woken by the next record', async () => {
    const cluster = await start();
    const consumer = consumerOf(cluster, { from: 'latest', maxWaitMs: 60_000 });
    const next = consumer[Symbol.asyncIterator]().next();
    const producer = producerOf(cluster);
    // 'latest' is looked up by the first poll: whatever is sent until then lies before it.
    while (consumer.position === undefined) await producer.send({ topic: 'events', value: 'tick' });
    await producer.send({ topic: 'events', value: 'tick' });
    expect(String((await next).value!.value)).toBe('tick');
  });
});

describe('bad requests', () => {
  it('get typed errors', async () => {
    const cluster = await start();
    const producer = producerOf(cluster);
    await expect(producer.send({ topic: 'nowhere', value: 'a' })).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC' });
    await expect(producer.send({ topic: 'events', partition: 9 })).rejects.toMatchObject({ code: 'UNKNOWN_PARTITION' });
    const stranger = new Producer({ brokers: brokersOf(cluster), clusterId: 'another' });
    open.push(stranger);
    await expect(stranger.send({ topic: 'events', value: 'a' })).rejects.toMatchObject({ code: 'WRONG_CLUSTER' });
    await expect(consumerOf(cluster, { from: 10 }).poll()).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' });
  });

  it('a record that the topic refuses for its size fails alone', async () => {
    const cluster = await start();
    const producer = producerOf(cluster);
    const [before, large, after] = await Promise.allSettled([
      producer.send({ topic: 'events', value: 'before' }),
      producer.send({ topic: 'events', value: Buffer.alloc(2 * 1024 * 1024) }),
      producer.send({ topic: 'events', value: 'after' }),
    ]);
    expect([before.status, after.status]).toEqual(['fulfilled', 'fulfilled']);
    expect(large).toMatchObject({ reason: { code: 'BATCH_TOO_LARGE' } });
  });
});

describe('Admin', () => {
  it('sees the cluster, finds offsets, and moves the log start', async () => {
    const cluster = await start();
    const admin = adminOf(cluster);
    const leader = await admin.waitForLeader('events', 0);
    expect(leader).toBe(await cluster.leader());
    const metadata = await admin.metadata();
    expect(metadata.nodes.map(({ id }) => id)).toEqual([1, 2, 3]);
    expect(metadata.topics.map(({ name }) => name)).toEqual(['events']);
    expect(await admin.status(leader)).toMatchObject({ nodeId: leader });

    const producer = producerOf(cluster);
    const { offset } = await producer.send({ topic: 'events', value: 'a', timestamp: 1000 });
    await producer.send({ topic: 'events', value: 'b', timestamp: 2000 });
    expect(await admin.listOffsets('events', 0, 'latest')).toMatchObject({ offset: offset + 2 });
    expect(await admin.listOffsets('events', 0, 1500)).toEqual({ offset: offset + 1, timestamp: 2000 });
    expect(await admin.listOffsets('events', 0, 3000)).toMatchObject({ offset: -1 });

    expect(await admin.deleteRecords('events', 0, offset + 1)).toBe(offset + 1);
    expect(await admin.listOffsets('events', 0, 'earliest')).toMatchObject({ offset: offset + 1 });
    await expect(consumerOf(cluster, { from: 0 }).poll()).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' });
    expect(String((await readUntil(consumerOf(cluster), ({ length }) => length > 0))[0]!.value)).toBe('b');
  });
});

describe('a leader that stops under load', () => {
  it('loses nothing that was acknowledged, repeats nothing, and the consumer sees only a delay', async () => {
    const cluster = await start();
    const producer = producerOf(cluster, { batchBytes: 8192 });
    const consumer = consumerOf(cluster, { maxWaitMs: 100 });
    const acknowledged = new Map<number, string>();
    const unknown = new Set<string>();
    let sent = 0;
    const failures: Error[] = [];
    let stop = false;
    let lastOffset = Number.POSITIVE_INFINITY;
    const completed = (): number => acknowledged.size + unknown.size;
    const load = (async () => {
      while (!stop) {
        for (let i = 0; i < 20 && sent - completed() < 200; i++) {
          const value = String(sent++);
          producer.enqueue({ topic: 'events', value }, (error, offset) => {
            if (error === null) acknowledged.set(offset, value);
            else if ((error as VarveError).code === 'OUTCOME_UNKNOWN') unknown.add(value);
            else failures.push(error);
          });
        }
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      await producer.flush();
      lastOffset = Math.max(...acknowledged.keys());
    })();
    const records: Record[] = [];
    const consumed = (async () => {
      while ((consumer.position ?? 0) <= lastOffset) records.push(...(await consumer.poll()));
    })();
    const acknowledges = async (more: number): Promise<void> => {
      const goal = acknowledged.size + more;
      while (acknowledged.size < goal && failures.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    };
    await acknowledges(1000);
    const first = await cluster.leader();
    await cluster.stopNode(first);
    await acknowledges(1000);
    await cluster.startNode(first);
    const second = await cluster.leader();
    await cluster.stopNode(second);
    await acknowledges(1000);
    expect(failures).toEqual([]);
    stop = true;
    await load;
    await consumed;

    const values = records.map(({ value }) => Number(value));
    expect(values).toEqual([...new Set(values)].sort((a, b) => a - b));
    const read = new Map(records.map(({ offset, value }) => [offset, String(value)]));
    for (const [offset, value] of acknowledged) expect(read.get(offset)).toBe(value);
    const known = new Set(acknowledged.values());
    for (const value of values) expect(known.has(String(value)) || unknown.has(String(value))).toBe(true);
    expect(acknowledged.size + unknown.size).toBe(sent);
  });
});
