import { afterEach, describe, expect, it } from 'vitest';
import { Consumer } from '../../src/client/consumer.js';
import type { ConsumerOptions } from '../../src/client/options.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { encodeControlBatch } from '../../src/record/control-batch.js';
import { baseOffsetAt } from '../../src/record/record-batch.js';
import type { Compression, Record } from '../../src/record/types.js';
import { FrameType } from '../../src/rpc/protocol.js';
import { FakeCluster, type FakePartition, type FakeRequest } from './fake-cluster.js';
import { turns } from './scripted-transport.js';

const open: { close(): unknown }[] = [];

afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

async function start(nodes = 1): Promise<FakeCluster> {
  const cluster = await FakeCluster.open(nodes);
  open.push(cluster);
  return cluster;
}

function consumer(cluster: FakeCluster, options: Partial<ConsumerOptions> = {}): Consumer {
  const made = new Consumer({ brokers: cluster.brokers, topic: 't', partition: 0, maxWaitMs: 20, ...options });
  open.push(made);
  return made;
}

async function append(
  partition: FakePartition,
  values: readonly string[],
  compression: Compression = 'none',
): Promise<void> {
  const builder = new BatchBuilder();
  for (const value of values) builder.append(1000, null, value);
  partition.append(await builder.finishCompressed(compression));
}

function appendControl(partition: FakePartition): void {
  partition.append(encodeControlBatch(1000, Buffer.from('leader'), 0, partition.epoch, 1000));
}

const values = (records: readonly Record[]): string[] => records.map(({ value }) => String(value));
const offsets = (records: readonly Record[]): number[] => records.map(({ offset }) => offset);

/** Answers the next fetch with what `change` makes of the right answer. */
function tamper(cluster: FakeCluster, change: (header: unknown[], body: Buffer) => [unknown[], Buffer]): void {
  cluster.intercept = (request: FakeRequest) => {
    if (request.type !== FrameType.Fetch) return false;
    cluster.intercept = undefined;
    const { connection, correlationId } = request;
    const partition = cluster.partition();
    const body = Buffer.concat(partition.batches);
    const [header, bytes] = change([partition.end, partition.start, partition.end], body);
    connection.reply(FrameType.FetchReply, correlationId, header, [bytes]);
    return true;
  };
}

describe('poll', () => {
  it('gives records in order from the earliest on, and an empty array when there are no more', async () => {
    const cluster = await start();
    await append(cluster.partition(), ['a', 'b']);
    await append(cluster.partition(), ['c']);
    const c = consumer(cluster);
    expect(c.position).toBeUndefined();
    const records = await c.poll();
    expect(records).toEqual(
      ['a', 'b', 'c'].map((value, offset) => ({
        offset,
        timestamp: 1000,
        key: null,
        value: Buffer.from(value),
        headers: [],
      })),
    );
    expect(c.position).toBe(3);
    expect(await c.poll()).toEqual([]);
    expect(c.position).toBe(3);
  });

  it.each(['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const)(
    'reads %s, beginning inside a batch',
    async (compression) => {
      const cluster = await start();
      await append(
        cluster.partition(),
        ['a', 'b', 'c', 'd'].map((value) => value.repeat(200)),
        compression,
      );
      const c = consumer(cluster, { from: 2 });
      const records = await c.poll();
      expect(offsets(records)).toEqual([2, 3]);
      expect(values(records)).toEqual(['c'.repeat(200), 'd'.repeat(200)]);
    },
  );

  it('from the latest gives only what comes later', async () => {
    const cluster = await start();
    await append(cluster.partition(), ['old']);
    const c = consumer(cluster, { from: 'latest', maxWaitMs: 60_000 });
    const polled = c.poll();
    while (cluster.count(FrameType.Fetch) === 0) await turns();
    await append(cluster.partition(), ['new']);
    expect(values(await polled)).toEqual(['new']);
  });

  it('passes over control batches, at the start, in the middle and at the end', async () => {
    const cluster = await start();
    const partition = cluster.partition();
    appendControl(partition);
    await append(partition, ['a']);
    appendControl(partition);
    await append(partition, ['b']);
    appendControl(partition);
    const c = consumer(cluster);
    const records = await c.poll();
    expect([offsets(records), values(records), c.position]).toEqual([[1, 3], ['a', 'b'], 5]);
    appendControl(partition);
    expect(await c.poll()).toEqual([]);
    expect(c.position).toBe(6);
  });

  it('keeps maxBytes, and fetches the next answer while the caller works on this one', async () => {
    const cluster = await start();
    for (let n = 0; n < 4; n++) await append(cluster.partition(), [`${n}`.repeat(1000)]);
    const c = consumer(cluster, { maxBytes: 1100 });
    expect(offsets(await c.poll())).toEqual([0]);
    while (cluster.count(FrameType.Fetch) < 2) await turns();
    expect(offsets(await c.poll())).toEqual([1]);
    c.seek(0);
    expect(offsets(await c.poll())).toEqual([0]);
    expect(offsets(await c.poll())).toEqual([1]);
  });

  it('a second poll while one is running is refused', async () => {
    const cluster = await start();
    const c = consumer(cluster);
    const first = c.poll();
    await expect(c.poll()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await first).toEqual([]);
  });

  it('that is overtaken by seek gives nothing from the old place', async () => {
    const cluster = await start();
    await append(cluster.partition(), ['a', 'b', 'c']);
    const c = consumer(cluster);
    const polled = c.poll();
    c.seek(2);
    expect(offsets(await polled)).toEqual([]);
    expect(offsets(await c.poll())).toEqual([2]);
  });
});

describe('iteration', () => {
  it('yields records until the consumer is closed', async () => {
    const cluster = await start();
    for (let n = 0; n < 5; n++) await append(cluster.partition(), [`${n}`]);
    const c = consumer(cluster, { maxWaitMs: 60_000 });
    const seen: string[] = [];
    for await (const { value } of c) {
      seen.push(String(value));
      if (seen.length === 5) await append(cluster.partition(), ['last']);
      if (seen.length === 6) await c.close();
    }
    expect(seen).toEqual(['0', '1', '2', '3', '4', 'last']);
  });

  it('ends when the consumer is closed while it waits', async () => {
    const cluster = await start();
    const c = consumer(cluster, { maxWaitMs: 60_000 });
    const ended = (async () => {
      for await (const _ of c) throw new Error('there are no records');
    })();
    while (cluster.count(FrameType.Fetch) === 0) await turns();
    await c.close();
    await ended;
    await expect(c.poll()).rejects.toMatchObject({ code: 'CLOSED' });
  });
});

describe('fetchBatches', () => {
  it('gives whole batches as they are stored, control batches included', async () => {
    const cluster = await start();
    const partition = cluster.partition();
    await append(partition, ['a', 'b'], 'lz4');
    appendControl(partition);
    const c = consumer(cluster, { from: 1 });
    const { batches, ...rest } = await c.fetchBatches();
    expect(rest).toEqual({ nextOffset: 3, highWatermark: 3, logStart: 0 });
    expect(Buffer.concat(batches as Buffer[])).toEqual(Buffer.concat(partition.batches));
    expect(c.position).toBe(3);
  });
});

describe('a change of leader', () => {
  it('is only a delay', async () => {
    const cluster = await start(3);
    await append(cluster.partition(), ['a']);
    const c = consumer(cluster);
    expect(values(await c.poll())).toEqual(['a']);
    cluster.partition().moveTo(2);
    await append(cluster.partition(), ['b']);
    expect(values(await c.poll())).toEqual(['b']);
    cluster.partition().moveTo(3);
    await cluster.kill(2);
    await append(cluster.partition(), ['c']);
    expect(values(await c.poll())).toEqual(['c']);
  });

  it('is only a delay also when the old leader says that it is closing', async () => {
    const cluster = await start(2);
    const c = consumer(cluster);
    cluster.intercept = ({ type, node, connection, correlationId }) => {
      if (type !== FrameType.Fetch || node.id !== 1) return false;
      connection.reply(FrameType.Error, correlationId, ['CLOSED', 'this node is closing']);
      cluster.partition().moveTo(2);
      return true;
    };
    await append(cluster.partition(), ['a']);
    expect(values(await c.poll())).toEqual(['a']);
  });

  it('is found when the old leader says nothing any more', async () => {
    const cluster = await start(2);
    await append(cluster.partition(), ['a']);
    const c = consumer(cluster);
    await c.poll();
    cluster.intercept = ({ node }) => node.id === 1;
    cluster.partition().moveTo(2);
    await append(cluster.partition(), ['b']);
    expect(values(await c.poll())).toEqual(['b']);
  });

  it('that never comes ends in TIMEOUT, and polling again goes on', async () => {
    const cluster = await start(1);
    await append(cluster.partition(), ['a']);
    cluster.partition().moveTo(0);
    const c = consumer(cluster, { requestTimeoutMs: 200 });
    await expect(c.poll()).rejects.toMatchObject({ code: 'TIMEOUT' });
    cluster.partition().moveTo(1);
    expect(values(await c.poll())).toEqual(['a']);
  });
});

describe('what is gone', () => {
  it('below the log start is OFFSET_OUT_OF_RANGE, and the position stays until seek', async () => {
    const cluster = await start();
    const partition = cluster.partition();
    await append(partition, ['a']);
    await append(partition, ['b']);
    partition.batches.shift();
    partition.start = 1;
    const c = consumer(cluster, { from: 0 });
    for (let n = 0; n < 2; n++) {
      await expect(c.poll()).rejects.toMatchObject({
        code: 'OFFSET_OUT_OF_RANGE',
        message: expect.stringContaining('1 to 2'),
      });
    }
    expect(c.position).toBe(0);
    c.seek('earliest');
    expect(values(await c.poll())).toEqual(['b']);
  });

  it('above the end and never given is OFFSET_OUT_OF_RANGE', async () => {
    const cluster = await start();
    await expect(consumer(cluster, { from: 5 }).poll()).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' });
  });

  it('above the end and given before is LOG_TRUNCATED, never passed over', async () => {
    const cluster = await start(2);
    const partition = cluster.partition();
    await append(partition, ['a']);
    await append(partition, ['b']);
    const c = consumer(cluster);
    expect(offsets(await c.poll())).toEqual([0, 1]);
    partition.truncate(1);
    partition.moveTo(2);
    await expect(c.poll()).rejects.toMatchObject({
      code: 'LOG_TRUNCATED',
      message: expect.stringContaining('ends at offset 1'),
    });
    expect(c.position).toBe(2);
    c.seek(1);
    await append(partition, ['B']);
    expect(values(await c.poll())).toEqual(['B']);
  });

  it('according to a leader that was replaced is asked of the present one', async () => {
    const cluster = await start(2);
    await append(cluster.partition(), ['a']);
    const c = consumer(cluster);
    await c.poll();
    cluster.intercept = ({ type, node, connection, correlationId }) => {
      if (type !== FrameType.Fetch || node.id !== 1) return false;
      connection.reply(FrameType.Error, correlationId, ['OFFSET_OUT_OF_RANGE', 'I am behind']);
      return true;
    };
    cluster.partition().moveTo(2);
    await append(cluster.partition(), ['b']);
    expect(values(await c.poll())).toEqual(['b']);
  });
});

describe('an answer that cannot be right is an error, and nothing of it is given', () => {
  async function tampered(change: (header: unknown[], body: Buffer) => [unknown[], Buffer]): Promise<Consumer> {
    const cluster = await start();
    await append(cluster.partition(), ['a']);
    await append(cluster.partition(), ['b']);
    tamper(cluster, change);
    return consumer(cluster, { from: 0 });
  }

  it.each<[string, string, (header: unknown[], body: Buffer) => [unknown[], Buffer]]>([
    [
      'a flipped bit in a record',
      'CORRUPT_BATCH',
      (header, body) => {
        body[body.length - 3]! ^= 1;
        return [header, body];
      },
    ],
    ['a batch cut short', 'CORRUPT_BATCH', (header, body) => [header, body.subarray(0, body.length - 1)]],
    ['a batch left out', 'PROTOCOL_ERROR', (header, body) => [header, body.subarray(body.length / 2)]],
    ['a batch sent twice', 'PROTOCOL_ERROR', (header, body) => [header, Buffer.concat([body, body])]],
    ['a next offset that skips', 'PROTOCOL_ERROR', ([hw, start], body) => [[hw, start, 3], body]],
    ['a next offset that skips where nothing was sent', 'PROTOCOL_ERROR', (header) => [header, Buffer.alloc(0)]],
    ['a header without offsets', 'PROTOCOL_ERROR', (_, body) => [['x'], body]],
  ])('%s', async (_, code, change) => {
    const c = await tampered(change);
    await expect(c.poll()).rejects.toMatchObject({ code, message: expect.stringContaining('t-0') });
    expect(c.position).toBe(0);
    const records = await c.poll();
    expect(values(records)).toEqual(['a', 'b']);
  });

  it('batches are cut where they end', async () => {
    const cluster = await start();
    await append(cluster.partition(), ['a']);
    await append(cluster.partition(), ['b']);
    const { batches } = await consumer(cluster).fetchBatches();
    expect(batches.map((batch) => baseOffsetAt(batch, 0))).toEqual([0, 1]);
  });
});
