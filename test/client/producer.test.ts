import { createServer, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Admin } from '../../src/client/admin.js';
import type { ProducerOptions } from '../../src/client/options.js';
import { partitionOfKey } from '../../src/client/partitioner.js';
import { Producer } from '../../src/client/producer.js';
import { decodeBatch } from '../../src/record/decode.js';
import { FrameType } from '../../src/rpc/protocol.js';
import { FakeCluster, type FakePartition, type FakeRequest } from './fake-cluster.js';
import { turns } from './scripted-transport.js';

const open: { close(): unknown }[] = [];

afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

async function start(nodes = 1, topics?: { [name: string]: number }): Promise<FakeCluster> {
  const cluster = await FakeCluster.open(nodes, topics);
  open.push(cluster);
  return cluster;
}

function producer(cluster: FakeCluster, options: Partial<ProducerOptions> = {}): Producer {
  const made = new Producer({ brokers: cluster.brokers, ...options });
  open.push(made);
  return made;
}

function valuesOf(partition: FakePartition): string[] {
  return partition.batches.flatMap((batch) => decodeBatch(batch).map(({ value }) => String(value)));
}

/** Takes over the next produce request; `seen` resolves with it. */
function holdNextProduce(cluster: FakeCluster): Promise<FakeRequest> {
  return new Promise((resolve) => {
    cluster.intercept = (request) => {
      if (request.type !== FrameType.Produce) return false;
      cluster.intercept = undefined;
      resolve(request);
      return true;
    };
  });
}

describe('send', () => {
  it('resolves with topic, partition and offset', async () => {
    const cluster = await start(1, { t: 2 });
    const p = producer(cluster);
    const results = await Promise.all([
      p.send({
        topic: 't',
        partition: 1,
        key: 'k',
        value: 'a',
        headers: [{ key: 'h', value: Buffer.from('v') }],
        timestamp: 5,
      }),
      p.send({ topic: 't', partition: 1, value: Buffer.from('b') }),
      p.send({ topic: 't', partition: 0 }),
    ]);
    expect(results).toEqual([
      { topic: 't', partition: 1, offset: 0 },
      { topic: 't', partition: 1, offset: 1 },
      { topic: 't', partition: 0, offset: 0 },
    ]);
    const [first, second] = decodeBatch(cluster.partition('t', 1).batches[0]!);
    expect([String(first!.key), String(first!.value), first!.timestamp]).toEqual(['k', 'a', 5]);
    expect(first!.headers).toEqual([{ key: 'h', value: Buffer.from('v') }]);
    expect(second!.key).toBeNull();
    expect(decodeBatch(cluster.partition('t', 0).batches[0]!)[0]!.value).toBeNull();
  });

  it('places records by key as Kafka does, and others in turn', async () => {
    const cluster = await start(1, { t: 5 });
    const p = producer(cluster);
    await p.send({ topic: 't', partition: 0, value: 'warm-up' });
    const keyed = await Promise.all(['21', 'foobar', 'abc'].map((key) => p.send({ topic: 't', key })));
    expect(keyed.map(({ partition }) => partition)).toEqual(
      ['21', 'foobar', 'abc'].map((key) => partitionOfKey(key, 5)),
    );
    const plain = await Promise.all([1, 2, 3, 4, 5, 6].map((n) => p.send({ topic: 't', value: String(n) })));
    expect(plain.map(({ partition }) => partition)).toEqual([0, 1, 2, 3, 4, 0]);
  });

  it('sends what one turn of the event loop gave in one request', async () => {
    const cluster = await start(1, { t: 2 });
    const p = producer(cluster);
    await Promise.all(
      Array.from({ length: 100 }, (_, n) => p.send({ topic: 't', partition: n % 2, value: String(n) })),
    );
    expect(cluster.count(FrameType.Produce)).toBe(1);
    expect(valuesOf(cluster.partition('t', 1))).toEqual(Array.from({ length: 50 }, (_, n) => String(2 * n + 1)));
  });

  it.each([
    ['an unknown topic', { topic: 'nowhere' }, 'UNKNOWN_TOPIC'],
    ['an impossible topic', { topic: '../etc' }, 'INVALID_TOPIC'],
    ['an unknown partition', { topic: 't', partition: 7 }, 'UNKNOWN_PARTITION'],
    ['an impossible partition', { topic: 't', partition: -1 }, 'INVALID_ARGUMENT'],
    ['an oversized record', { topic: 't', value: Buffer.alloc(4 * 1024 * 1024) }, 'BATCH_TOO_LARGE'],
    ['a value that is no bytes', { topic: 't', value: 7 as unknown as string }, 'INVALID_ARGUMENT'],
    ['no record', null as unknown as { topic: string }, 'INVALID_ARGUMENT'],
  ])('rejects %s with a typed error, before and after the topic is known', async (_, record, code) => {
    const cluster = await start();
    const p = producer(cluster);
    await expect(p.send(record)).rejects.toMatchObject({ name: 'VarveError', code });
    await p.send({ topic: 't', value: 'good' });
    await expect(p.send(record)).rejects.toMatchObject({ name: 'VarveError', code });
    expect(valuesOf(cluster.partition())).toEqual(['good']);
  });

  it('an unknown topic does not hurt the others', async () => {
    const cluster = await start(2);
    const p = producer(cluster);
    await p.send({ topic: 't', value: 'a' });
    await expect(p.send({ topic: 'nowhere', value: 'b' })).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC' });
    cluster.partition().moveTo(2);
    expect(await p.send({ topic: 't', value: 'c' })).toMatchObject({ offset: 1 });
  });

  it('waits while the buffer is full, and keeps the order', async () => {
    const cluster = await start();
    const p = producer(cluster, { batchBytes: 1000, bufferBytes: 2000, maxInFlight: 1 });
    const held = holdNextProduce(cluster);
    const sends = Array.from({ length: 50 }, (_, n) => p.send({ topic: 't', value: `${n}:${'x'.repeat(300)}` }));
    const request = await held;
    await turns();
    expect(p.bufferedBytes).toBeLessThan(3000);
    request.proceed();
    const results = await Promise.all(sends);
    expect(results.map(({ offset }) => offset)).toEqual(results.map((_, n) => n));
    expect(valuesOf(cluster.partition()).map((value) => Number.parseInt(value, 10))).toEqual(results.map((_, n) => n));
  });
});

describe('enqueue', () => {
  it('calls back with offset and partition, in order, without promises', async () => {
    const cluster = await start(1, { t: 3 });
    const p = producer(cluster);
    const calls: unknown[] = [];
    for (let n = 0; n < 4; n++) {
      expect(p.enqueue({ topic: 't', value: String(n) }, (...args) => calls.push(args))).toBe(true);
    }
    await p.flush();
    expect(calls).toEqual([
      [null, 0, 0],
      [null, 1, 0],
      [null, 0, 1],
      [null, 0, 2],
    ]);
  });

  it('returns false when the buffer is full, and whenWritable says when to go on', async () => {
    const cluster = await start();
    const p = producer(cluster, { batchBytes: 1000, bufferBytes: 1000 });
    const held = holdNextProduce(cluster);
    const done: string[] = [];
    const enqueue = (value: string): boolean => p.enqueue({ topic: 't', value }, () => done.push(value));
    expect([enqueue('x'.repeat(900)), enqueue('y'.repeat(900)), enqueue('z')]).toEqual([true, true, false]);
    (await held).proceed();
    await p.whenWritable();
    expect(enqueue('z')).toBe(true);
    await p.flush();
    expect(done.map((value) => value[0])).toEqual(['x', 'y', 'z']);
  });
});

describe('acks', () => {
  it.each([
    [1, 1],
    ['all', -1],
  ] as const)('%s is sent as %d', async (acks, sent) => {
    const cluster = await start();
    await producer(cluster, { acks }).send({ topic: 't', value: 'a' });
    expect(cluster.seen.find(({ type }) => type === FrameType.Produce)!.header[0]).toBe(sent);
  });

  it('0 completes with offset -1 once the request is written, without an answer', async () => {
    const cluster = await start();
    const p = producer(cluster, { acks: 0 });
    const held = holdNextProduce(cluster);
    expect(await p.send({ topic: 't', value: 'a' })).toEqual({ topic: 't', partition: 0, offset: -1 });
    const { correlationId, header } = await held;
    expect([correlationId, header[0]]).toEqual([0, 0]);
  });

  it('0 goes on with the new leader after the old one closed the connection', async () => {
    const cluster = await start(2);
    const p = producer(cluster, { acks: 0 });
    await p.send({ topic: 't', value: 'a' });
    cluster.partition().moveTo(2);
    while (!valuesOf(cluster.partition()).includes('last')) {
      // What goes to the former leader is lost: acks 0 promises nothing else.
      await p.send({ topic: 't', value: 'last' });
      await turns();
    }
  });
});

describe('a change of leader', () => {
  it('is invisible when the old leader refuses', async () => {
    const cluster = await start(3);
    const p = producer(cluster);
    await p.send({ topic: 't', value: 'a' });
    cluster.partition().moveTo(3);
    const results = await Promise.all(['b', 'c'].map((value) => p.send({ topic: 't', value })));
    expect(results.map(({ offset }) => offset)).toEqual([1, 2]);
    expect(valuesOf(cluster.partition())).toEqual(['a', 'b', 'c']);
  });

  it.each(['CLOSED', 'DISK_FAILED', 'OVERLOADED'])('is invisible when the old leader refuses with %s', async (code) => {
    const cluster = await start(2);
    const p = producer(cluster);
    cluster.intercept = ({ type, node, connection, correlationId }) => {
      if (type !== FrameType.Produce || node.id !== 1) return false;
      connection.reply(FrameType.ProduceReply, correlationId, [[[code, 'not me', -1, -1]]]);
      cluster.partition().moveTo(2);
      return true;
    };
    expect(await p.send({ topic: 't', value: 'a' })).toMatchObject({ offset: 0 });
    expect(cluster.seen.filter(({ type }) => type === FrameType.Produce).map(({ node }) => node)).toEqual([1, 2]);
  });

  it('is waited for while nobody leads', async () => {
    const cluster = await start(2);
    cluster.partition().moveTo(0);
    const p = producer(cluster);
    const sent = p.send({ topic: 't', value: 'a' });
    while (cluster.count(FrameType.Metadata) < 4) await turns();
    cluster.partition().moveTo(2);
    expect(await sent).toMatchObject({ offset: 0 });
  });

  it('after a lost connection: what was in flight has an unknown outcome, what was not goes to the new leader', async () => {
    const cluster = await start(2);
    const p = producer(cluster, { maxInFlight: 1 });
    await p.send({ topic: 't', value: 'a' });
    const held = holdNextProduce(cluster);
    const inFlight = p.send({ topic: 't', value: 'b' });
    await held;
    const queued = p.send({ topic: 't', value: 'c' });
    await turns();
    cluster.partition().moveTo(2);
    await Promise.all([
      expect(inFlight).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' }),
      expect(queued).resolves.toMatchObject({ offset: 1 }),
      cluster.kill(1),
    ]);
    expect(valuesOf(cluster.partition())).toEqual(['a', 'c']);
  });

  it('is found when the old leader says nothing any more', async () => {
    const cluster = await start(2);
    const p = producer(cluster, { maxInFlight: 1 });
    await p.send({ topic: 't', value: 'a' });
    cluster.intercept = ({ node }) => node.id === 1;
    const stuck = p.send({ topic: 't', value: 'b' });
    await turns();
    const queued = p.send({ topic: 't', value: 'c' });
    cluster.partition().moveTo(2);
    await expect(stuck).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    expect(await queued).toMatchObject({ offset: 1 });
  });

  it('that never comes ends in TIMEOUT, and the records were not appended', async () => {
    const cluster = await start(1);
    cluster.partition().moveTo(0);
    const p = producer(cluster, { requestTimeoutMs: 300 });
    await expect(p.send({ topic: 't', value: 'a' })).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(p.bufferedBytes).toBe(0);
  });
});

describe('answers', () => {
  it('an error of one part fails the records of that part only', async () => {
    const cluster = await start(1, { t: 2 });
    const p = producer(cluster);
    cluster.intercept = ({ type, connection, correlationId }) => {
      if (type !== FrameType.Produce) return false;
      connection.reply(FrameType.ProduceReply, correlationId, [
        [
          ['CORRUPT_BATCH', 'bad', -1, -1],
          ['', '', 4, 0],
        ],
      ]);
      return true;
    };
    const [bad, good] = await Promise.allSettled([
      p.send({ topic: 't', partition: 0, value: 'a' }),
      p.send({ topic: 't', partition: 1, value: 'b' }),
    ]);
    expect(bad).toMatchObject({ reason: { code: 'CORRUPT_BATCH' } });
    expect(good).toMatchObject({ value: { offset: 4 } });
  });

  it.each<[string, unknown[]]>([
    ['no parts', []],
    ['too few parts', [[]]],
    ['a part without an offset', [[['', '', -1, 0]]]],
    ['a part that is none', [[7]]],
    ['an unknown code', [[['SURPRISE', 'x', -1, -1]]]],
    ['a timeout on the server', [[['TIMEOUT', 'x', -1, -1]]]],
  ])('%s means that the outcome is unknown', async (_, reply) => {
    const cluster = await start();
    cluster.intercept = ({ type, connection, correlationId }) => {
      if (type !== FrameType.Produce) return false;
      connection.reply(FrameType.ProduceReply, correlationId, reply);
      return true;
    };
    await expect(producer(cluster).send({ topic: 't', value: 'a' })).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  });

  it.each<[string, unknown[]]>([
    ['nothing', []],
    ['nodes that are none', ['fake', [7], []]],
    ['topics that are none', ['fake', [], [['t', 'id', 'sync', 7]]]],
    ['a leader that is no number', ['fake', [], [['t', 'id', 'sync', [['one', 1, []]]]]]],
  ])('metadata that holds %s is a protocol error', async (_, reply) => {
    const cluster = await start();
    cluster.intercept = ({ type, connection, correlationId }) => {
      if (type !== FrameType.Metadata) return false;
      connection.reply(FrameType.MetadataReply, correlationId, reply);
      return true;
    };
    await expect(producer(cluster).send({ topic: 't', value: 'a' })).rejects.toMatchObject({ code: 'PROTOCOL_ERROR' });
  });
});

describe('connecting', () => {
  it('to another cluster is refused', async () => {
    const cluster = await start();
    const p = producer(cluster, { clusterId: 'mine' });
    await expect(p.send({ topic: 't', value: 'a' })).rejects.toMatchObject({ code: 'WRONG_CLUSTER' });
  });

  it('works when some of the bootstrap addresses are dead or silent', async () => {
    const cluster = await start();
    const silent = await new Promise<Server>((resolve) => {
      const server = createServer();
      server.listen(0, '127.0.0.1', () => resolve(server));
    });
    open.push(silent);
    const dead = await start();
    const [deadAddress] = dead.brokers;
    await dead.close();
    const { port } = silent.address() as { port: number };
    const p = producer(cluster, { brokers: [deadAddress!, `127.0.0.1:${port}`, ...cluster.brokers] });
    expect(await p.send({ topic: 't', value: 'a' })).toMatchObject({ offset: 0 });
  });

  it('to nobody ends in TIMEOUT that says why', async () => {
    const dead = await start();
    const { brokers } = dead;
    await dead.close();
    const p = producer(dead, { brokers, requestTimeoutMs: 200 });
    const failure = await p.send({ topic: 't', value: 'a' }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'TIMEOUT', message: expect.stringContaining('ECONNREFUSED') });
  });

  it('needs one connection per node that leads something, besides the first', async () => {
    const cluster = await start(3, { t: 3 });
    for (const id of [1, 2, 3]) cluster.partition('t', id - 1).leader = id;
    const p = producer(cluster);
    for (let n = 0; n < 30; n++) await p.send({ topic: 't', value: String(n) });
    expect(cluster.nodes.map(({ connections }) => connections.length).sort()).toEqual([1, 1, 2]);
  });
});

describe('close', () => {
  it('sends what is buffered first, then refuses everything', async () => {
    const cluster = await start();
    const p = producer(cluster, { lingerMs: 60_000 });
    const sent = p.send({ topic: 't', value: 'a' });
    await Promise.all([p.close(), p.close()]);
    expect(await sent).toMatchObject({ offset: 0 });
    await expect(p.send({ topic: 't', value: 'b' })).rejects.toMatchObject({ code: 'CLOSED' });
    expect(() => p.enqueue({ topic: 't', value: 'b' }, () => {})).toThrow(expect.objectContaining({ code: 'CLOSED' }));
    await p.whenWritable();
  });

  it('of a producer that never connected is immediate', async () => {
    await new Producer({ brokers: ['127.0.0.1:1'] }).close();
  });
});

describe('Admin', () => {
  function admin(cluster: FakeCluster): Admin {
    const made = new Admin({ brokers: cluster.brokers, requestTimeoutMs: 10_000 });
    open.push(made);
    return made;
  }

  it('tells nodes, topics and leaders', async () => {
    const cluster = await start(2, { t: 1, u: 2 });
    const metadata = await admin(cluster).metadata();
    expect(metadata.clusterId).toBe('fake');
    expect(metadata.nodes.map(({ id, port }) => [id, port])).toEqual(
      cluster.nodes.map(({ id, listener }) => [id, listener.port]),
    );
    expect(metadata.topics.map(({ name, partitions }) => [name, partitions.length])).toEqual([
      ['t', 1],
      ['u', 2],
    ]);
  });

  it('asks the leader for offsets, and the new one after a change', async () => {
    const cluster = await start(2);
    const a = admin(cluster);
    await producer(cluster).send({ topic: 't', value: 'x' });
    expect(await a.listOffsets('t', 0, 'latest')).toEqual({ offset: 1, timestamp: -1 });
    cluster.partition().moveTo(2);
    expect(await a.listOffsets('t', 0, 'earliest')).toEqual({ offset: 0, timestamp: -1 });
  });

  it('waits for a leader that answers as one', async () => {
    const cluster = await start(2);
    cluster.partition().moveTo(0);
    const waiting = admin(cluster).waitForLeader('t', 0);
    while (cluster.count(FrameType.Metadata) < 4) await turns();
    cluster.partition().moveTo(2);
    expect(await waiting).toBe(2);
  });

  it('deletes records and asks a node for its status', async () => {
    const cluster = await start(2);
    const a = admin(cluster);
    expect(await a.deleteRecords('t', 0, 0)).toBe(0);
    expect(await a.status(2)).toEqual({ nodeId: 2 });
    await expect(a.status(9)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(a.listOffsets('t', 4, 'latest')).rejects.toMatchObject({ code: 'UNKNOWN_PARTITION' });
  });

  it('closed while it waits, fails with CLOSED', async () => {
    const cluster = await start();
    cluster.partition().moveTo(0);
    const a = admin(cluster);
    const waiting = a.waitForLeader('t', 0);
    await turns();
    await a.close();
    await expect(waiting).rejects.toMatchObject({ code: 'CLOSED' });
  });
});
