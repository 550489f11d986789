import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { VarveError } from '../../src/errors.js';
import type { Connection, ConnectionOptions } from '../../src/rpc/connection.js';
import { type DialOptions, dial } from '../../src/rpc/dial.js';
import { encodeFrame, type Frame, FrameDecoder, unpackHeader } from '../../src/rpc/frame.js';
import type { Handshake } from '../../src/rpc/handshake.js';
import { Listener, type ListenerOptions } from '../../src/rpc/listener.js';
import { FrameType } from '../../src/rpc/protocol.js';
import { type Flushable, WriteScheduler } from '../../src/rpc/write-scheduler.js';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

const serverIdentity = { clusterId: 'demo', nodeId: 1, directoryId: 'd1', incarnation: 'i1' };
const client: Handshake = {
  kind: 'client',
  channel: 'client',
  clusterId: '',
  nodeId: 0,
  directoryId: '',
  incarnation: '',
};
const node2: Handshake = {
  kind: 'node',
  channel: 'data',
  clusterId: 'demo',
  nodeId: 2,
  directoryId: 'd2',
  incarnation: 'i2',
};

async function listen(options: Partial<ListenerOptions> = {}): Promise<Listener> {
  const listener = await Listener.open({
    host: '127.0.0.1',
    port: 0,
    identity: serverIdentity,
    onConnection: echo,
    ...options,
  });
  closers.push(() => listener.close());
  return listener;
}

/** Answers every request with its own header and body, the body unchanged. */
function echo(connection: Connection): void {
  connection.onFrame = (frame) => {
    if (frame.correlationId > 0) {
      connection.reply(frame.type + 1, frame.correlationId, unpackHeader(frame.header), [frame.body]);
    }
  };
}

async function open(listener: Listener, options: Partial<DialOptions> = {}): Promise<Connection> {
  const { connection } = await dial({ host: '127.0.0.1', port: listener.port, handshake: client, ...options });
  closers.push(() => connection.destroy());
  return connection;
}

/** A socket that speaks bytes, and the frames and the end it gets. */
async function raw(listener: Listener): Promise<{ socket: Socket; frames: Frame[]; ended: Promise<unknown> }> {
  const socket = connect({ host: '127.0.0.1', port: listener.port });
  const frames: Frame[] = [];
  const decoder = new FrameDecoder(1 << 20, (frame) => frames.push(frame));
  socket.on('data', (chunk) => decoder.push(chunk));
  socket.on('error', () => {});
  const ended = once(socket, 'end');
  closers.push(() => socket.destroy());
  await once(socket, 'connect');
  return { socket, frames, ended };
}

const handshakeFrame = (header: unknown[]): Buffer => encodeFrame(FrameType.Handshake, 1, header, 0);

function closed(connection: Connection): Promise<VarveError> {
  return new Promise((resolve) => {
    connection.onClose = resolve;
  });
}

describe('a connection', () => {
  test('matches replies to requests, with bodies of any size', async () => {
    const connection = await open(await listen());
    const sizes = [0, 1, 2047, 2048, 70_000, 3_000_000, 5];
    const replies = await Promise.all(
      sizes.map((size, i) => connection.request(FrameType.Produce, [i, 'x'], [Buffer.alloc(size, i + 1)])),
    );
    replies.forEach((reply, i) => {
      expect(reply.header).toEqual([i, 'x']);
      expect(reply.body.length).toBe(sizes[i]);
      expect(reply.body.every((byte) => byte === i + 1)).toBe(true);
    });
    expect(connection.inFlight).toBe(0);
  });

  test('is scheduled once for all frames of a turn, and writes them in order', async () => {
    class CountingScheduler extends WriteScheduler {
      added = 0;
      override add(target: Flushable): void {
        this.added++;
        super.add(target);
      }
    }
    const scheduler = new CountingScheduler();
    const seen: unknown[] = [];
    const all = new Promise<void>((resolve) => {
      void listen({
        onConnection: (connection) => {
          connection.onFrame = (frame) => {
            if (seen.push(unpackHeader(frame.header)[0]) === 100) resolve();
          };
        },
      }).then(async (listener) => {
        const connection = await open(listener, { connection: { scheduler } });
        scheduler.added = 0;
        for (let i = 0; i < 100; i++) expect(connection.send(FrameType.Raft, [i])).toBe(true);
        expect(scheduler.added).toBe(1);
        expect(connection.outgoingBytes).toBeGreaterThan(0);
        scheduler.flush();
        expect(connection.outgoingBytes).toBe(0);
      });
    });
    await all;
    expect(seen).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });

  test('hands on the error of a request without ending', async () => {
    const listener = await listen({
      onConnection: (connection) => {
        connection.onFrame = (frame) =>
          connection.replyError(frame.correlationId, new VarveError('UNKNOWN_TOPIC', 'no topic "x"'));
      },
    });
    const connection = await open(listener);
    await expect(connection.request(FrameType.Fetch, [])).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC' });
    expect(connection.isOpen).toBe(true);
  });

  test('that is lost says for each request whether it may have happened', async () => {
    const listener = await listen({
      onConnection: (connection) => {
        connection.onFrame = (frame) => {
          if (frame.type === FrameType.Status) connection.destroy();
        };
      },
    });
    const connection = await open(listener);
    const produce = connection.request(FrameType.Produce, []);
    const fetch = connection.request(FrameType.Fetch, []);
    const status = connection.request(FrameType.Status, []);
    const ended = closed(connection);
    await expect(produce).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    await expect(fetch).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    await expect(status).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    expect((await ended).code).toBe('CONNECTION_LOST');
    await expect(connection.request(FrameType.Produce, [])).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    expect(connection.send(FrameType.Raft, [])).toBe(false);
  });

  test('a request that never left did not happen', async () => {
    const connection = await open(await listen());
    const produce = connection.request(FrameType.Produce, []);
    connection.destroy();
    await expect(produce).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
  });

  test('a deadline ends a read with TIMEOUT and a write with OUTCOME_UNKNOWN, and late answers are dropped', async () => {
    const waiting: (() => void)[] = [];
    const listener = await listen({
      onConnection: (connection) => {
        connection.onFrame = (frame) => {
          if (frame.type === FrameType.Status) connection.reply(FrameType.StatusReply, frame.correlationId, [1]);
          else waiting.push(() => connection.reply(frame.type + 1, frame.correlationId, []));
        };
      },
    });
    const connection = await open(listener);
    const fetch = connection.request(FrameType.Fetch, [], [], { timeoutMs: 20 });
    const produce = connection.request(FrameType.Produce, [], [], { timeoutMs: 20 });
    await expect(fetch).rejects.toMatchObject({ code: 'TIMEOUT' });
    await expect(produce).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    for (const answer of waiting) answer();
    expect((await connection.request(FrameType.Status, [])).header).toEqual([1]);
  });

  test('refuses requests beyond its limits instead of buffering without end', async () => {
    const listener = await listen({ onConnection: (connection) => (connection.onFrame = () => {}) });
    const limits: ConnectionOptions = { maxInFlight: 2, outgoingMaxBytes: 1 << 20, outgoingHighBytes: 1 << 19 };
    const connection = await open(listener, { connection: limits });
    const first = connection.request(FrameType.Fetch, []).catch((error) => error);
    const second = connection.request(FrameType.Fetch, []).catch((error) => error);
    await expect(connection.request(FrameType.Fetch, [])).rejects.toMatchObject({ code: 'OVERLOADED' });
    expect(connection.send(FrameType.Raft, [], [Buffer.alloc(600_000)])).toBe(true);
    expect(connection.writable).toBe(false);
    expect(connection.send(FrameType.Raft, [], [Buffer.alloc(600_000)])).toBe(false);
    await new Promise<void>((resolve) => {
      connection.onWritable = resolve;
    });
    expect(connection.writable).toBe(true);
    connection.destroy();
    expect((await first).code).toBe('CONNECTION_LOST');
    expect((await second).code).toBe('CONNECTION_LOST');
  });

  test('a server does not read on while its replies are not taken', async () => {
    const listener = await listen({
      connection: { outgoingHighBytes: 1 << 18 },
      onConnection: (connection) => {
        connection.holdWhenBlocked = true;
        connection.onFrame = (frame) =>
          connection.reply(frame.type + 1, frame.correlationId, [], [Buffer.alloc(1 << 20)]);
      },
    });
    const connection = await open(listener, { connection: { maxInFlight: 10_000 } });
    connection.hold(1);
    const replies = Array.from({ length: 60 }, () => {
      const reply = connection.request(FrameType.Fetch, []);
      connection.flush();
      return reply;
    });
    const server = [...listener.connections][0]!;
    while (server.writable) await new Promise((resolve) => setImmediate(resolve));
    expect(server.outgoingBytes).toBeLessThan(64 << 20);
    connection.release(1);
    for (const reply of await Promise.all(replies)) expect(reply.body.length).toBe(1 << 20);
  });

  test('an idle connection is closed with a reason', async () => {
    const listener = await listen({ connection: { idleMs: 30 } });
    const connection = await open(listener);
    expect((await closed(connection)).code).toBe('TIMEOUT');
  });
});

describe('a handshake', () => {
  test('tells both sides who the other is', async () => {
    let seen: Handshake | undefined;
    const listener = await listen({ onConnection: (_, handshake) => (seen = handshake) });
    const { connection, peer } = await dial({
      host: '127.0.0.1',
      port: listener.port,
      handshake: node2,
      expectNodeId: 1,
    });
    expect(peer).toEqual(serverIdentity);
    expect(seen).toEqual(node2);
    connection.destroy();
  });

  test('frames that come in one packet with the handshake reply reach the one who dialled', async () => {
    const listener = await listen({
      onConnection: (connection) => {
        queueMicrotask(() => connection.send(FrameType.Raft, ['at once']));
      },
    });
    const seen = new Promise((resolve) => {
      void dial({
        host: '127.0.0.1',
        port: listener.port,
        handshake: node2,
        onOpen: ({ connection }) => {
          closers.push(() => connection.destroy());
          connection.onFrame = (frame) => resolve(unpackHeader(frame.header));
        },
      });
    });
    expect(await seen).toEqual(['at once']);
  });

  test.each([
    ['another cluster', { ...node2, clusterId: 'other' }, 'WRONG_CLUSTER'],
    ['a client of another cluster', { ...client, clusterId: 'other' }, 'WRONG_CLUSTER'],
    ['a node without a cluster', { ...node2, clusterId: '' }, 'WRONG_CLUSTER'],
    ['a client on a node channel', { ...client, channel: 'data' as const }, 'PROTOCOL_ERROR'],
  ])('refuses %s', async (_, handshake, code) => {
    const listener = await listen();
    await expect(dial({ host: '127.0.0.1', port: listener.port, handshake })).rejects.toMatchObject({ code });
  });

  test('refuses what the owner does not admit', async () => {
    const listener = await listen({
      admit: (handshake) => {
        throw new VarveError('WRONG_NODE', `node ${handshake.nodeId} is not a peer`);
      },
    });
    await expect(dial({ host: '127.0.0.1', port: listener.port, handshake: node2 })).rejects.toMatchObject({
      code: 'WRONG_NODE',
      message: 'node 2 is not a peer',
    });
  });

  test('the dialling side refuses another node and another cluster', async () => {
    const listener = await listen();
    const base = { host: '127.0.0.1', port: listener.port };
    await expect(dial({ ...base, handshake: node2, expectNodeId: 3 })).rejects.toMatchObject({ code: 'WRONG_NODE' });
    const foreign = await listen({ identity: { ...serverIdentity, clusterId: 'other' } });
    const dialled = dial({ host: '127.0.0.1', port: foreign.port, handshake: node2 });
    await expect(dialled).rejects.toMatchObject({ code: 'WRONG_CLUSTER' });
  });

  test('an unknown protocol version is refused by name', async () => {
    const { socket, frames, ended } = await raw(await listen());
    socket.write(handshakeFrame([99, 'client', 'demo', 0, '', '', 'client']));
    await ended;
    expect(unpackHeader(frames[0]!.header)).toEqual(['UNSUPPORTED_VERSION', expect.stringContaining('version 99')]);
  });

  test.each([
    ['garbage', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), 'FRAME_TOO_LARGE'],
    ['a frame of another type', encodeFrame(FrameType.Produce, 1, [], 0), 'PROTOCOL_ERROR'],
    ['a length below the prefix', Buffer.from([0, 0, 0, 3, 1, 1, 1]), 'PROTOCOL_ERROR'],
    ['more than 4 KiB', encodeFrame(FrameType.Handshake, 1, ['x'.repeat(5000)], 0), 'FRAME_TOO_LARGE'],
    ['a header that is not msgpack', Buffer.from([0, 0, 0, 9, 1, 0, 0, 1, 0, 0, 0, 1, 0xc1]), 'PROTOCOL_ERROR'],
    ['a handshake of the wrong shape', handshakeFrame([1, 'client', 7, {}, [], null]), 'PROTOCOL_ERROR'],
  ])('%s gets an error frame, then the end', async (_, bytes, code) => {
    const { socket, frames, ended } = await raw(await listen());
    socket.write(bytes);
    await ended;
    expect(frames).toHaveLength(1);
    expect(frames[0]!.type).toBe(FrameType.Error);
    expect(frames[0]!.correlationId).toBe(0);
    expect(unpackHeader(frames[0]!.header)[0]).toBe(code);
  });

  test('who says nothing is sent away', async () => {
    const { frames, ended } = await raw(await listen({ handshakeTimeoutMs: 30 }));
    await ended;
    expect(unpackHeader(frames[0]!.header)[0]).toBe('TIMEOUT');
  });

  test('after it, a frame over the limit closes the connection with FRAME_TOO_LARGE', async () => {
    const listener = await listen({ connection: { maxFrameBytes: 100_000 } });
    const connection = await open(listener);
    const ended = closed(connection);
    const produce = connection.request(FrameType.Produce, [], [Buffer.alloc(200_000)]);
    await expect(produce).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    expect((await ended).code).toBe('FRAME_TOO_LARGE');
  });

  test('dialling nobody, or somebody who never answers, fails with a clear error', async () => {
    const listener = await listen();
    const { port } = listener;
    await listener.close();
    closers.length = 0;
    await expect(dial({ host: '127.0.0.1', port, handshake: client })).rejects.toMatchObject({
      code: 'CONNECTION_LOST',
    });
    const { createServer } = await import('node:net');
    const silent = createServer(() => {}).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const silentPort = (silent.address() as { port: number }).port;
    await expect(dial({ host: '127.0.0.1', port: silentPort, handshake: client, timeoutMs: 50 })).rejects.toMatchObject(
      { code: 'TIMEOUT' },
    );
    silent.close();
  });
});

test.each<[string, () => Promise<Partial<ListenerOptions>>, RegExp]>([
  [
    'a port in use',
    async () => ({ port: (await listen()).port }),
    /\(EADDRINUSE\)\. Another process is using the port/,
  ],
  ['the address of another machine', async () => ({ host: '203.0.113.1' }), /\(EADDRNOTAVAIL\)\. No network interface/],
])('listening on %s is refused with what to do about it', async (_, options, message) => {
  await expect(listen(await options())).rejects.toMatchObject({
    code: 'INVALID_CONFIG',
    message: expect.stringMatching(message),
  });
});
