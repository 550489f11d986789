/**
 * A cluster of nodes in one process, over real TCP on loopback, and a client that speaks the protocol by hand. Everything
 * is awaited by its own events; the deadlines are only there so that a broken build ends.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { Node } from '../../src/cluster/node.js';
import type { NodeEvent, NodeOptions, PeerOptions } from '../../src/cluster/node-options.js';
import type { Replica } from '../../src/cluster/replica.js';
import { VarveError } from '../../src/errors.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { decodeBatch } from '../../src/record/decode.js';
import { batchSizeAt, isControlAt } from '../../src/record/record-batch.js';
import type { Connection } from '../../src/rpc/connection.js';
import { dial } from '../../src/rpc/dial.js';
import { FrameType, type ProduceReplyHeader } from '../../src/rpc/protocol.js';

const DEADLINE_MS = 30_000;

/** Ports below the range that outgoing connections take theirs from, so that nobody takes them while a node restarts. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = 12_000 + Math.floor(Math.random() * 20_000);
    if (!ports.includes(port) && (await isFree(port))) ports.push(port);
  }
  return ports;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** Resolves when the condition holds; looked at once per turn of the event loop. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  state: () => unknown = () => '',
): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!(await condition())) {
    if (performance.now() > deadline) {
      throw new Error(`gave up waiting until ${what}\n${JSON.stringify(state(), undefined, 1)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A cluster that is closed when the test has ended. */
export async function startCluster(...args: Parameters<typeof TestCluster.start>): Promise<TestCluster> {
  const cluster = await TestCluster.start(...args);
  onTestFinished(() => cluster.close());
  return cluster;
}

export class TestCluster {
  readonly peers: PeerOptions[];
  readonly events: (NodeEvent & { readonly node: number })[] = [];
  readonly #directory: string;
  readonly #overrides: Partial<NodeOptions>;
  readonly #nodes = new Map<number, Node>();
  readonly #connections: Connection[] = [];

  private constructor(directory: string, peers: PeerOptions[], overrides: Partial<NodeOptions>) {
    this.#directory = directory;
    this.peers = peers;
    this.#overrides = overrides;
  }

  static async start(size: number, overrides: Partial<NodeOptions> = {}): Promise<TestCluster> {
    const directory = await mkdtemp(join(tmpdir(), 'varve-cluster-'));
    const ports = await freePorts(size);
    const peers = ports.map((port, i) => ({ id: i + 1, host: '127.0.0.1', port }));
    const cluster = new TestCluster(directory, peers, overrides);
    for (const { id } of peers) await cluster.startNode(id);
    return cluster;
  }

  directoryOf(id: number): string {
    return join(this.#directory, `node-${id}`);
  }

  optionsOf(id: number): NodeOptions {
    const { host, port } = this.peers.find((peer) => peer.id === id)!;
    return {
      nodeId: id,
      clusterId: 'test',
      dataDirectory: this.directoryOf(id),
      listen: { host, port },
      peers: this.peers,
      topics: [{ name: 'events', partitions: 1 }],
      formatIfMissing: true,
      heartbeatMs: 40,
      electionMs: 400,
      onEvent: (event) => this.events.push({ ...event, node: id }),
      ...this.#overrides,
      store: { journalFileBytes: 4 * 2 ** 20, ...this.#overrides.store },
    };
  }

  async startNode(id: number, overrides: Partial<NodeOptions> = {}): Promise<Node> {
    const node = await Node.start({ ...this.optionsOf(id), ...overrides });
    this.#nodes.set(id, node);
    return node;
  }

  async stopNode(id: number): Promise<void> {
    const node = this.#nodes.get(id);
    this.#nodes.delete(id);
    await node?.close();
  }

  get nodes(): Node[] {
    return [...this.#nodes.values()];
  }

  node(id: number): Node {
    return this.#nodes.get(id)!;
  }

  replicas(topic = 'events', partition = 0): Replica[] {
    return this.nodes.map((node) => node.replica(topic, partition));
  }

  /** Waits for a leader that answers reads, and returns its node id. */
  async leader(topic = 'events', partition = 0): Promise<number> {
    let leader = 0;
    await until(`${topic}-${partition} has a leader`, () => {
      leader = this.nodes.find((node) => node.replica(topic, partition).mayRead)?.options.nodeId ?? 0;
      return leader !== 0;
    });
    return leader;
  }

  async client(id: number): Promise<TestClient> {
    const { host, port } = this.peers.find((peer) => peer.id === id)!;
    const handshake = {
      kind: 'client' as const,
      channel: 'client' as const,
      clusterId: 'test',
      nodeId: 0,
      directoryId: '',
      incarnation: '',
    };
    const { connection } = await dial({ host, port, handshake });
    this.#connections.push(connection);
    return new TestClient(connection);
  }

  /** All replicas that run have the same end, all of it committed, and durable where an acknowledgement says so. */
  async settled(topic = 'events', partition = 0): Promise<void> {
    await until(
      'all replicas are equal',
      () => {
        const replicas = this.replicas(topic, partition);
        const { end } = replicas[0]!.log;
        return replicas.every(
          ({ log, highWatermark }) =>
            log.end === end && highWatermark === end && (log.options.flush !== 'sync' || log.durable === end),
        );
      },
      () => ({ status: this.nodes.map((node) => node.status()), events: this.events.slice(-100) }),
    );
  }

  async close(): Promise<void> {
    for (const connection of this.#connections) connection.destroy();
    for (const id of [...this.#nodes.keys()]) await this.stopNode(id);
    await rm(this.#directory, { recursive: true, force: true });
  }
}

export class TestClient {
  readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  /** Base offset of the batch. @throws VarveError what the part was answered */
  async produce(
    bytes: Buffer,
    options: { acks?: 1 | -1; topic?: string; partition?: number; timeoutMs?: number } = {},
  ): Promise<number> {
    const { acks = -1, topic = 'events', partition = 0, timeoutMs = 30_000 } = options;
    const header = [acks, timeoutMs, [[topic, partition, bytes.length]]];
    const reply = await this.connection.request(FrameType.Produce, header, [bytes]);
    const [code, message, baseOffset] = (reply.header as ProduceReplyHeader)[0][0]!;
    if (code !== '') throw new VarveError(code as VarveError['code'], message);
    return baseOffset;
  }

  /** Sends with acks 0: no answer. */
  send(bytes: Buffer, topic = 'events', partition = 0): void {
    this.connection.send(FrameType.Produce, [0, 0, [[topic, partition, bytes.length]]], [bytes]);
  }

  async fetch(
    offset: number,
    options: { topic?: string; partition?: number; maxBytes?: number; minBytes?: number; maxWaitMs?: number } = {},
  ): Promise<{ values: string[]; offsets: number[]; nextOffset: number; highWatermark: number; logStart: number }> {
    const { topic = 'events', partition = 0, maxBytes = 2 ** 20, minBytes = 0, maxWaitMs = 0 } = options;
    const header = [topic, partition, offset, maxBytes, minBytes, maxWaitMs];
    const reply = await this.connection.request(FrameType.Fetch, header);
    const [highWatermark, logStart, nextOffset] = reply.header as number[];
    const values: string[] = [];
    const offsets: number[] = [];
    const { body } = reply;
    for (let position = 0; position < body.length; position += batchSizeAt(body, position)) {
      if (isControlAt(body, position)) continue;
      for (const record of decodeBatch(body, position, body.length)) {
        values.push(record.value?.toString() ?? '');
        offsets.push(record.offset);
      }
    }
    return { values, offsets, nextOffset: nextOffset!, highWatermark: highWatermark!, logStart: logStart! };
  }

  /** Everything that is committed, from the log start on. */
  async readAll(topic = 'events', partition = 0): Promise<string[]> {
    const values: string[] = [];
    const [start] = (await this.connection.request(FrameType.ListOffsets, [topic, partition, -2])).header as number[];
    const [end] = (await this.connection.request(FrameType.ListOffsets, [topic, partition, -1])).header as number[];
    for (let offset = start!; offset < end!; ) {
      const read = await this.fetch(offset, { topic, partition });
      values.push(...read.values);
      offset = read.nextOffset;
    }
    return values;
  }
}

/** One batch with these values, as a producer sends it. */
export function batchOf(...values: string[]): Buffer {
  const builder = new BatchBuilder();
  for (const value of values) builder.append(Date.now(), null, Buffer.from(value));
  return Buffer.from(builder.finish());
}
